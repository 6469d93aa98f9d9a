"""An agent program in a sandbox was asked something: its session, from the question to the answer."""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import shutil
from dataclasses import replace
from typing import Any, Optional

from caged import __version__

from ..cage.shim_rpc import ShimReply
from ..control.agent_command_line import model_name, prompt_text
from ..control.agent_replies import AgentReply, NoReplyLeft
from ..control.agents import USAGE_ERROR, Prompt, Reply, default_reply
from ..control.callbacks import CallbackRaised
from ..control.journal import TEXT_CHARACTERS
from ..control.records import PromptRecord
from ..store import Sandbox, Session
from . import limits
from .agent_output import Printed, printed
from .command_stubs import as_seen
from .errors import ApiError
from .files import place
from .services import Services, redacted
from .sessions import Sessions
from .user_functions import in_thread

logger = logging.getLogger(__name__)

#: How long an agent waits for another one in its sandbox: as long as clients wait for a command.
TURN_SECONDS = 300.0
#: In the journal, for a program that was gone before it was answered, and for the host's own, whose end nobody sees.
NO_EXIT_CODE = -1


def _call(script: AgentReply, prompt: Prompt) -> Reply:
    assert script.function is not None
    made = script.function(prompt)
    return default_reply(prompt) if made is None else made


class AgentRuns:
    def __init__(self, services: Services, sessions: Sessions) -> None:
        self._services = services
        self._sessions = sessions

    async def answer(self, sandbox: Sandbox, question: dict[str, Any], answer: ShimReply) -> None:
        """One agent at a time in a sandbox; the next waits for its turn."""
        program = as_seen(sandbox, question.get("program", ""))
        arguments = [as_seen(sandbox, word) for word in question.get("arguments", ())]
        if "--version" in arguments:
            answer.write(f"{__version__} (caged emulator)\n")
            answer.finish(0)
            return
        stdin = question.get("stdin")
        text = prompt_text(program, arguments, as_seen(sandbox, stdin or ""))
        agent = limits.agent_name(program) or program
        cwd = as_seen(sandbox, question.get("cwd", ""))
        if text is None:
            passing = self._services.agent_replies.passthrough(sandbox.account_id, agent)
            if passing is not None:
                passing.used += 1
                self._pass_through(sandbox, Prompt(agent, program, "", sandbox.id, cwd, arguments), answer)
            elif stdin is None:
                answer.request_stdin()
            else:
                answer.write(f"{program}: no prompt. Try: {program} -p 'Fix the failing test'\n")
                answer.finish(USAGE_ERROR)
            return
        prompt = Prompt(agent, program, text, sandbox.id, cwd, arguments)
        try:
            await asyncio.wait_for(sandbox.agent.acquire(), TURN_SECONDS)
        except asyncio.TimeoutError:
            answer.write(f"{program}: another agent has been at work in this sandbox for {TURN_SECONDS:g} s\n")
            answer.finish(1)
            return
        try:
            code = await self._chosen(sandbox, prompt, answer)
        finally:
            sandbox.agent.release()
        if code is not None:
            answer.finish(code)

    async def _chosen(self, sandbox: Sandbox, prompt: Prompt, answer: ShimReply) -> Optional[int]:
        """Answer with the reply that applies to the prompt. The exit code; None when the program has become the host's
        own."""
        try:
            script = self._services.agent_replies.take(sandbox.account_id, prompt.agent, prompt.text)
        except NoReplyLeft as error:
            logger.warning("%s: %s: %s", sandbox.id, prompt.program, error)
            nothing = Reply(f"{prompt.program}: {error}\n", 1)
            return await self._session(sandbox, prompt, nothing, answer)
        if script is None:
            return await self._session(sandbox, prompt, default_reply(prompt), answer)
        if script.passthrough:
            self._pass_through(sandbox, prompt, answer)
            return None
        return await self._session(sandbox, prompt, script.reply, answer, script)

    def _pass_through(self, sandbox: Sandbox, prompt: Prompt, answer: ShimReply) -> None:
        """No session: what the host's program takes and says, nobody here sees."""
        path = os.environ.get("PATH", os.defpath)
        found = shutil.which(prompt.program, path=path)
        if found is None:
            missing = f"{prompt.program}: passthrough needs the real program, which is not on the PATH of this machine"
        else:
            level = self._services.isolation.level
            missing = f"{prompt.program}: {found} cannot be seen from within {level} isolation; use isolation='process'"
        self._services.note(sandbox, f"{prompt.agent} passes through to {found or 'nothing'}", "agent")
        self._asked(sandbox, prompt, Reply("", NO_EXIT_CODE))
        answer.run_real(path=path, missing=missing)

    async def _session(
        self,
        sandbox: Sandbox,
        prompt: Prompt,
        reply: Reply,
        answer: ShimReply,
        script: Optional[AgentReply] = None,
    ) -> int:
        """`script`: the control that the reply is of; its function replaces the reply."""
        self._services.note(sandbox, f"{prompt.agent} was asked: {prompt.text}", "agent")
        session = self._sessions.begin(sandbox, prompt.agent, model_name(prompt.program, prompt.arguments))
        prompt = replace(prompt, session_id=session.id)
        done = Reply("", NO_EXIT_CODE)
        start = self._services.clock.stopwatch()
        try:
            if script is not None and script.function is not None:
                reply = await self._made(sandbox, prompt, script)
            reply = await self._with_files(sandbox, prompt, reply, script)
            form = printed(prompt, reply, session)
            await self._print(form, reply, answer)
            milliseconds = (self._services.clock.stopwatch() - start) * 1000
            answer.write(form.last(milliseconds))
            if session.ended_at is None:
                self._answered(sandbox, session, prompt, reply, milliseconds)
            done = reply
            return reply.exit_code
        finally:
            self._asked(sandbox, prompt, done)
            self._sessions.end(sandbox, session, done.exit_code == 0)

    async def _made(self, sandbox: Sandbox, prompt: Prompt, script: AgentReply) -> Reply:
        """The reply that a function makes. When it raises, the exception is recorded, and the agent fails with it."""
        try:
            reply = await in_thread(functools.partial(_call, script, prompt), f"agent-{sandbox.id}")
            reply.check()
            return reply
        except (CallbackRaised, TypeError, ValueError) as error:
            raised = error.original if isinstance(error, CallbackRaised) else error
            text = self._services.callback_failed(sandbox, script, raised)
            return Reply(f"the function of {script} failed: {text}\n", 1)

    async def _with_files(self, sandbox: Sandbox, prompt: Prompt, reply: Reply, script: Optional[AgentReply]) -> Reply:
        """Write the reply's files before its text is printed. One that cannot be written fails the agent, and is
        recorded like an exception of a function."""
        for path, content in reply.files.items():
            try:
                await place(self._services, sandbox, path, content)
            except ApiError as refusal:
                if script is not None:
                    self._services.callback_failed(sandbox, script, OSError(f"cannot write {path}: {refusal.detail}"))
                return Reply(f"{prompt.program}: cannot write {path}: {refusal.detail}\n", 1)
        return reply

    async def _print(self, form: Printed, reply: Reply, answer: ShimReply) -> None:
        answer.write(form.first())
        for piece in reply.pieces:
            await asyncio.sleep(reply.delay)
            answer.write(form.piece(piece))

    def _answered(self, sandbox: Sandbox, session: Session, prompt: Prompt, reply: Reply, milliseconds: float) -> None:
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
        self._services.record(sandbox, "llm_call", data, milliseconds)

    def _asked(self, sandbox: Sandbox, prompt: Prompt, reply: Reply) -> None:
        """Into the journal."""
        self._services.journal.add_prompt(
            PromptRecord(
                at=self._services.clock.timestamp(),
                account=sandbox.account_id,
                sandbox=sandbox.id,
                session=prompt.session_id,
                agent=prompt.agent,
                program=prompt.program,
                prompt=redacted(sandbox, prompt.text, TEXT_CHARACTERS),
                arguments=[redacted(sandbox, word, TEXT_CHARACTERS) for word in prompt.arguments],
                cwd=prompt.cwd,
                reply=redacted(sandbox, reply.whole, TEXT_CHARACTERS),
                exit_code=reply.exit_code,
                tokens_in=max(0, reply.tokens_in),
                tokens_out=max(0, reply.tokens_out),
                cost_usd=max(0.0, reply.cost_usd),
            )
        )
