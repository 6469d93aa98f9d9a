"""Runs of an agent's command in a sandbox: the session of each, from the prompt to the reply."""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import shutil
from dataclasses import replace
from typing import Any, Optional

from caged import __version__

from ..cage.chosen_isolation import ChosenIsolation
from ..cage.shim_rpc import ShimReply
from ..control import near_misses
from ..control.agent_command_line import chosen_session, model_name, prompt_text, resumed_session
from ..control.agent_replies import ScriptedReply
from ..control.agents import USAGE_ERROR, Prompt, Reply, default_reply
from ..control.callbacks import CallbackRaised
from ..control.clock import Clock
from ..control.journal import TEXT_CHARACTERS, Journal
from ..control.records import PromptRecord
from ..control.reply_registry import AgentReplies, NoReplyLeft
from ..control.step import set_current
from ..control.steps import Steps
from ..store import AgentSession, Sandbox
from . import limits
from .agent_output import TextOutput, output_for
from .agent_sessions import AgentSessions
from .errors import ApiError
from .file_writes import FileWrites
from .live_sandboxes import LiveSandboxes
from .recorder import SandboxRecorder
from .redaction import redact_for
from .sandbox_text import sandbox_text
from .user_functions import in_thread

logger = logging.getLogger(__name__)

#: How long an agent waits for another one in its sandbox: as long as clients wait for a command.
TURN_SECONDS = 300.0
#: In the journal: the program ended before it got its reply, or it is the host's own, whose end is not seen.
NO_EXIT_CODE = -1


def _call_reply_function(script: ScriptedReply, prompt: Prompt) -> Reply:
    assert script.function is not None
    reply = script.function(prompt)
    return default_reply(prompt) if reply is None else reply


class AgentRuns:
    def __init__(
        self,
        clock: Clock,
        live: LiveSandboxes,
        journal: Journal,
        agent_replies: AgentReplies,
        isolation: ChosenIsolation,
        sessions: AgentSessions,
        files: FileWrites,
        recorder: SandboxRecorder,
        steps: Steps,
    ) -> None:
        self._clock = clock
        self._live = live
        self._journal = journal
        self._agent_replies = agent_replies
        self._isolation = isolation
        self._sessions = sessions
        self._files = files
        self._recorder = recorder
        self._steps = steps

    async def answer(self, sandbox: Sandbox, request: dict[str, Any], answer: ShimReply) -> None:
        """Answer the request of an agent's command. One agent at a time in a sandbox; the next waits for its turn."""
        cage = self._live.of(sandbox).cage
        program = sandbox_text(cage, request.get("program", ""))
        arguments = [sandbox_text(cage, word) for word in request.get("arguments", ())]
        if "--version" in arguments:
            answer.write(f"{__version__} (caged emulator)\n")
            answer.finish(0)
            return
        stdin = request.get("stdin")
        text = prompt_text(program, arguments, sandbox_text(cage, stdin or ""))
        agent = limits.agent_name(program) or program
        cwd = sandbox_text(cage, request.get("cwd", ""))
        prompt = Prompt(agent, program, text or "", sandbox.id, cwd, arguments)
        if text is None:
            self._answer_without_prompt(sandbox, prompt, stdin is None, answer)
        else:
            await self._answer_in_turn(sandbox, prompt, answer)

    def _answer_without_prompt(
        self, sandbox: Sandbox, prompt: Prompt, input_is_unread: bool, answer: ShimReply
    ) -> None:
        passthrough = self._agent_replies.passthrough(sandbox.account_id, prompt.agent)
        if passthrough is not None:
            passthrough.used += 1
            self._pass_through(sandbox, prompt, answer)
        elif input_is_unread:
            answer.request_stdin()
        else:
            answer.write(f"{prompt.program}: no prompt. Try: {prompt.program} -p 'Fix the failing test'\n")
            answer.finish(USAGE_ERROR)

    async def _answer_in_turn(self, sandbox: Sandbox, prompt: Prompt, answer: ShimReply) -> None:
        lock = self._live.of(sandbox).agent_lock
        try:
            await asyncio.wait_for(lock.acquire(), TURN_SECONDS)
        except asyncio.TimeoutError:
            answer.write(f"{prompt.program}: another agent has been at work in this sandbox for {TURN_SECONDS:g} s\n")
            answer.finish(1)
            return
        try:
            code = await self._reply(sandbox, prompt, answer)
        finally:
            lock.release()
        if code is not None:
            answer.finish(code)

    async def _reply(self, sandbox: Sandbox, prompt: Prompt, answer: ShimReply) -> Optional[int]:
        """Answer with the reply that applies to the prompt. Return the exit code; None when the program has become the
        host's own."""
        resumed = resumed_session(prompt.program, prompt.arguments)
        if resumed is not None and not self._can_resume(sandbox, prompt.agent, resumed):
            return self._refuse_session(sandbox, prompt, resumed, answer)
        try:
            script = self._agent_replies.take(sandbox.account_id, prompt.agent, prompt.text)
        except NoReplyLeft as error:
            logger.warning("%s: %s: %s", sandbox.id, prompt.program, error)
            return await self._run(sandbox, prompt, Reply(f"{prompt.program}: {error}\n", 1), answer)
        if script is None:
            return await self._run(sandbox, prompt, default_reply(prompt), answer)
        if script.passthrough:
            self._pass_through(sandbox, prompt, answer)
            return None
        return await self._run(sandbox, prompt, script.reply, answer, script)

    def _can_resume(self, sandbox: Sandbox, agent: str, session: str) -> bool:
        """Whether the agent has this session. Those of the host's own program are not known here."""
        passes_through = self._agent_replies.passthrough(sandbox.account_id, agent) is not None
        return passes_through or self._sessions.has_conversation(sandbox, agent, session)

    def _refuse_session(self, sandbox: Sandbox, prompt: Prompt, session: str, answer: ShimReply) -> int:
        """Fail as the agent does that has no such session (platform-behaviour.md A, Agents). No reply is used."""
        failure = Reply(f"No conversation found with session ID: {session}\n", 1)
        self._recorder.log(sandbox, f"{prompt.agent} has no session {session}", "agent")
        record = self._record_prompt(sandbox, prompt, failure)
        self._steps.add(
            "prompt",
            f"{prompt.agent}: {record.prompt}",
            outcome="error",
            account=sandbox.account_id,
            sandbox=sandbox.id,
            **_detail(record, model=""),
        )
        answer.write(failure.whole)
        return failure.exit_code

    def _pass_through(self, sandbox: Sandbox, prompt: Prompt, answer: ShimReply) -> None:
        """Let the host's own program run. There is no session: what that program sends and prints is not seen here."""
        path = os.environ.get("PATH", os.defpath)
        found = shutil.which(prompt.program, path=path)
        if found is None:
            missing = f"{prompt.program}: passthrough needs the real program, which is not on the PATH of this machine"
        else:
            level = self._isolation.current.level
            missing = f"{prompt.program}: {found} cannot be seen from within {level} isolation; use isolation='process'"
        self._recorder.log(sandbox, f"{prompt.agent} passes through to {found or 'nothing'}", "agent")
        record = self._record_prompt(sandbox, prompt, Reply("", NO_EXIT_CODE))
        title = f"{prompt.agent} passes through: {record.prompt}"
        self._steps.add("prompt", title, account=sandbox.account_id, sandbox=sandbox.id, **_detail(record, model=""))
        answer.run_real(path=path, missing=missing)

    # --- a session

    async def _run(
        self,
        sandbox: Sandbox,
        prompt: Prompt,
        reply: Reply,
        answer: ShimReply,
        script: Optional[ScriptedReply] = None,
    ) -> int:
        """Run one session, and return its exit code.

        Args:
            reply: The reply.
            script: The control that it is of; its function makes another reply.
        """
        self._recorder.log(sandbox, f"{prompt.agent} received the prompt: {prompt.text}", "agent")
        model = model_name(prompt.program, prompt.arguments)
        chosen = chosen_session(prompt.program, prompt.arguments)
        session = self._sessions.begin(sandbox, prompt.agent, model, chosen)
        prompt = replace(prompt, session_id=session.id)
        done = Reply("", NO_EXIT_CODE)
        start = self._clock.stopwatch()
        shown = redact_for(sandbox, prompt.text, TEXT_CHARACTERS)
        step = self._steps.begin(
            "prompt",
            f"{prompt.agent}: {shown}",
            account=sandbox.account_id,
            sandbox=sandbox.id,
            agent=prompt.agent,
            program=prompt.program,
            prompt=shown,
        )
        set_current(step)
        replies = self._agent_replies.list(sandbox.account_id) if script is None and self._agent_replies else ()
        if replies:
            lines = near_misses.of_replies(prompt.agent, prompt.text, replies)
            self._recorder.note_near_misses(sandbox, step, lines)
        try:
            async with self._recorder.file_changes.noting(sandbox, step):
                if script is not None and script.function is not None:
                    reply = await self._call(sandbox, prompt, script)
                reply = await self._write_files(sandbox, prompt, reply, script)
            output = output_for(prompt, reply, session)
            await self._print(output, reply, answer)
            milliseconds = (self._clock.stopwatch() - start) * 1000
            answer.write(output.last(milliseconds))
            if session.ended_at is None:
                self._record_reply(sandbox, session, prompt, reply, milliseconds)
            done = reply
            return reply.exit_code
        finally:
            record = self._record_prompt(sandbox, prompt, done)
            step.controls = [script.id] if script is not None else []
            self._steps.finish(step, "ok" if done.exit_code == 0 else "error", **_detail(record, session.model or ""))
            self._sessions.end(sandbox, session, done.exit_code == 0)

    async def _call(self, sandbox: Sandbox, prompt: Prompt, script: ScriptedReply) -> Reply:
        """Return the reply that a function makes. When it raises, the exception is recorded, and the agent fails with
        it."""
        try:
            reply = await in_thread(functools.partial(_call_reply_function, script, prompt), f"agent-{sandbox.id}")
            reply.check()
            return reply
        except (CallbackRaised, TypeError, ValueError) as error:
            raised = error.original if isinstance(error, CallbackRaised) else error
            text = self._recorder.record_callback_error(sandbox, script, raised)
            return Reply(f"the function of {script} failed: {text}\n", 1)

    async def _write_files(
        self, sandbox: Sandbox, prompt: Prompt, reply: Reply, script: Optional[ScriptedReply]
    ) -> Reply:
        """Write the reply's files before its text is printed. One that cannot be written fails the agent, and is
        recorded like an exception of a function."""
        for path, content in reply.files.items():
            try:
                await self._files.write(sandbox, path, content)
            except ApiError as error:
                reason = f"cannot write {path}: {error.detail}"
                if script is not None:
                    self._recorder.record_callback_error(sandbox, script, OSError(reason))
                return Reply(f"{prompt.program}: {reason}\n", 1)
        return reply

    async def _print(self, output: TextOutput, reply: Reply, answer: ShimReply) -> None:
        answer.write(output.first())
        for piece in reply.pieces:
            await asyncio.sleep(reply.delay)
            answer.write(output.piece(piece))

    def _record_reply(
        self, sandbox: Sandbox, session: AgentSession, prompt: Prompt, reply: Reply, milliseconds: float
    ) -> None:
        """Count what the reply took, and record it as an event."""
        session.model = reply.model or session.model
        self._sessions.spend(sandbox, session, reply.tokens_in, reply.tokens_out, reply.cost_usd)
        data = {
            "agent": prompt.agent,
            "model": session.model,
            "prompt": prompt.text,
            "response": reply.whole,
            "tokens_in": session.tokens_in,
            "tokens_out": session.tokens_out,
            "cost_usd": session.llm_cost,
            "exit_code": reply.exit_code,
        }
        self._recorder.record_event(sandbox, "llm_call", data, milliseconds, has_step=True)

    def _record_prompt(self, sandbox: Sandbox, prompt: Prompt, reply: Reply) -> PromptRecord:
        """Record the prompt and its reply in the journal."""
        record = PromptRecord(
            at=self._clock.timestamp(),
            account=sandbox.account_id,
            sandbox=sandbox.id,
            session=prompt.session_id,
            agent=prompt.agent,
            program=prompt.program,
            prompt=redact_for(sandbox, prompt.text, TEXT_CHARACTERS),
            arguments=[redact_for(sandbox, word, TEXT_CHARACTERS) for word in prompt.arguments],
            cwd=redact_for(sandbox, prompt.cwd, TEXT_CHARACTERS),
            reply=redact_for(sandbox, reply.whole, TEXT_CHARACTERS),
            exit_code=reply.exit_code,
            tokens_in=max(0, reply.tokens_in),
            tokens_out=max(0, reply.tokens_out),
            cost_usd=max(0.0, reply.cost_usd),
        )
        self._journal.add_prompt(record)
        return record


def _detail(record: PromptRecord, model: str) -> dict[str, Any]:
    """The detail of a prompt's step."""
    names = ("agent", "program", "prompt", "arguments", "cwd", "reply", "exit_code", "session")
    return {
        **{name: getattr(record, name) for name in names},
        "model": model,
        "tokens_in": record.tokens_in,
        "tokens_out": record.tokens_out,
        "cost_usd": record.cost_usd,
    }
