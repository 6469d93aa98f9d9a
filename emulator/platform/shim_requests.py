"""Requests of shims: a stubbed program or an agent's command in a sandbox asks the emulator what to print."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Optional

from ..cage.cage import Cage
from ..cage.shim_rpc import ShimReply
from ..control.current_account import acting_for
from ..control.step import current, within
from ..control.steps import Steps
from ..control.stub_registry import Stubs
from ..control.stubs import Invocation, Output
from ..store import Sandbox
from .agent_runs import AgentRuns
from .command_stubs import CANNOT_RUN, CommandStubs
from .live_sandboxes import LiveSandboxes
from .recorder import SandboxRecorder
from .sandbox_text import sandbox_text

logger = logging.getLogger(__name__)


class ShimRequests:
    """Answers each request by its kind: `agent` (an agent's command), `stub_output` (the output that a shell was given
    a token for), or else a stubbed program."""

    def __init__(
        self,
        stubs: Stubs,
        live: LiveSandboxes,
        command_stubs: CommandStubs,
        agent_runs: AgentRuns,
        recorder: SandboxRecorder,
        steps: Steps,
    ) -> None:
        self._stubs = stubs
        self._live = live
        self._command_stubs = command_stubs
        self._agent_runs = agent_runs
        self._recorder = recorder
        self._steps = steps

    async def answer(self, sandbox: Sandbox, request: dict[str, Any], answer: ShimReply) -> None:
        """Answer a request. A failure is logged, and the program prints that the log has the reason."""
        with acting_for(sandbox.account_id), within(self._steps.running_command(sandbox.id)):
            try:
                await self._answer(sandbox, request, answer)
            except Exception as error:  # any program inside may send any request
                logger.error("%s: a request of the shim could not be answered: %r", sandbox.id, error)
                answer.write("the emulator could not answer; its log says why\n")
                answer.finish(1)

    async def _answer(self, sandbox: Sandbox, request: dict[str, Any], answer: ShimReply) -> None:
        kind = request.get("kind")
        if kind == "agent":
            await self._agent_runs.answer(sandbox, request, answer)
        elif kind == "stub_output":
            token = str(next(iter(request.get("arguments", ())), ""))
            output = self._stubs.take_pending(token, sandbox.id)
            await _play(answer, output or Output("there is no such answer\n", CANNOT_RUN))
        else:
            await self._answer_program(sandbox, _invocation(sandbox, self._live.of(sandbox).cage, request), answer)

    async def _answer_program(self, sandbox: Sandbox, invocation: Invocation, answer: ShimReply) -> None:
        deciding = self._command_stubs.first_match(sandbox, invocation, "program")
        if invocation.stdin is None and deciding is not None and deciding.reads_stdin:
            answer.request_stdin()  # input that no stub reads stays unread, for the real program
            return
        found = await self._command_stubs.answer(sandbox, invocation, "program")
        if found is None:
            lines = self._command_stubs.near_misses(sandbox, invocation, "program")
            self._recorder.note_near_misses(sandbox, current(), lines)
            arguments = " ".join(invocation.arguments)
            missing = f"{invocation.program}: command not found; none of its stubs fits {arguments!r}"
            answer.run_real(missing=missing)
            return
        stub, output = found
        line = " ".join([invocation.program, *invocation.arguments])
        self._recorder.log(sandbox, f"$ {line} (exit {output.exit_code}, {stub.id})", "command")
        self._recorder.record_stubbed_program(sandbox, line, output.exit_code, output.text, stub.id)
        await _play(answer, output)


def _invocation(sandbox: Sandbox, cage: Optional[Cage], request: dict[str, Any]) -> Invocation:
    stdin = request.get("stdin")
    return Invocation(
        sandbox.id,
        program=sandbox_text(cage, request.get("program", "")),
        arguments=tuple(sandbox_text(cage, word) for word in request.get("arguments", ())),
        cwd=sandbox_text(cage, request.get("cwd", "")),
        stdin=None if stdin is None else sandbox_text(cage, stdin),
    )


async def _play(answer: ShimReply, output: Output) -> None:
    """Send an output to the program, piece by piece."""
    if output.error is not None:
        await asyncio.sleep(output.delay)
        answer.write(f"{output.error}\n")
        answer.finish(CANNOT_RUN)
        return
    for piece in output.pieces:
        await asyncio.sleep(output.delay)
        answer.write(piece)
    answer.finish(output.exit_code)
