"""An agent program in a sandbox was asked something: its session, from the question to the answer."""

from __future__ import annotations

import asyncio
import threading
from typing import Any, Callable, Optional, TypeVar

from ..cage.asking import Answer
from ..control.agents import USAGE_ERROR, Prompt, Reply, model_name, prompt_text
from ..store import Sandbox, Session
from . import limits
from .services import Services
from .sessions import Sessions

T = TypeVar("T")

#: How long an agent waits for another one in its sandbox: as long as clients wait for a command.
TURN_SECONDS = 300.0


class Answering:
    def __init__(self, services: Services, sessions: Sessions) -> None:
        self._services = services
        self._sessions = sessions

    async def answer(self, sandbox: Sandbox, question: dict[str, Any], answer: Answer) -> None:
        """One agent at a time in a sandbox; the next waits for its turn."""
        program = _readable(str(question.get("program", "")))
        arguments = [_readable(str(word)) for word in question.get("arguments", ())]
        text = prompt_text(program, arguments, _readable(str(question.get("stdin", ""))))
        if text is None:
            answer.write(f"{program}: no prompt. Try: {program} -p 'Fix the failing test'\n")
            answer.finish(USAGE_ERROR)
            return
        agent = next((name for name, command in limits.AGENTS.items() if command == program), program)
        cwd = _readable(str(question.get("cwd", "")))
        prompt = Prompt(agent, program, text, sandbox.id, cwd, arguments)
        try:
            await asyncio.wait_for(sandbox.agent.acquire(), TURN_SECONDS)
        except asyncio.TimeoutError:
            answer.write(f"{program}: another agent has been at work in this sandbox for {TURN_SECONDS:g} s\n")
            answer.finish(1)
            return
        try:
            reply = await self._session(sandbox, prompt)
        finally:
            sandbox.agent.release()
        answer.write(reply.text)
        answer.finish(reply.exit_code)

    async def _session(self, sandbox: Sandbox, prompt: Prompt) -> Reply:
        self._services.note(sandbox, f"{prompt.agent} was asked: {prompt.text}", "agent")
        session = self._sessions.begin(sandbox, prompt.agent, model_name(prompt.program, prompt.arguments))
        completed = False
        start = self._services.clock.stopwatch()
        try:
            try:
                reply = await in_thread(self._services.agents.reply, prompt)
            except Exception as error:
                self._services.log(f"{sandbox.id}: answering {prompt.program} failed: {error!r}")
                reply = Reply(f"the emulator could not answer: {error}\n", 1)
            if session.ended_at is None:
                self._answered(sandbox, session, prompt, reply, (self._services.clock.stopwatch() - start) * 1000)
            completed = reply.exit_code == 0
            return reply
        finally:
            self._sessions.end(sandbox, session, completed)

    def _answered(
        self, sandbox: Sandbox, session: Session, prompt: Prompt, reply: Reply, milliseconds: float
    ) -> None:
        session.model = reply.model or session.model
        self._sessions.spend(sandbox, session, reply.tokens_in, reply.tokens_out, reply.llm_cost)
        data = {
            "agent": prompt.agent,
            "model": session.model,
            "prompt": prompt.text,
            "response": reply.text,
            "tokens_in": session.tokens_in,
            "tokens_out": session.tokens_out,
            "cost_usd": session.llm_cost,
            "exit_code": reply.exit_code,
        }
        self._services.record(sandbox, "llm_call", data, milliseconds)


def _readable(text: str) -> str:
    """A command line may hold bytes that are no text; what is kept of it has to be sent as JSON later."""
    return text.encode("utf-8", "replace").decode("utf-8")


async def in_thread(call: Callable[[Prompt], T], prompt: Prompt) -> T:
    """The result of a function that may take its time, in a thread of its own: the loop's pool is for files. Nobody
    waits for the thread when the caller is cancelled."""
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[T] = loop.create_future()

    def deliver(result: Optional[T], error: Optional[Exception]) -> None:
        if outcome.done():
            return
        if error is not None:
            outcome.set_exception(error)
        else:
            outcome.set_result(result)  # type: ignore[arg-type]

    def work() -> None:
        result, failure = None, None
        try:
            result = call(prompt)
        except Exception as error:
            failure = error
        try:
            loop.call_soon_threadsafe(deliver, result, failure)
        except RuntimeError:
            pass  # the loop is closed: the emulator has ended

    threading.Thread(target=work, name=f"agent-{prompt.sandbox_id}", daemon=True).start()
    return await outcome
