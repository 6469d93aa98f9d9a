"""Stubs in sandboxes: which one answers a command or a program, and how its answer gets there."""

from __future__ import annotations

import asyncio
import functools
import logging
import secrets
import signal
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any, Callable, Optional

from ..cage.cage import Cage
from ..cage.command_result import CommandResult
from ..cage.init_client import SandboxGone
from ..cage.output import OUTPUT_LIMIT
from ..cage.shim_rpc import ShimReply
from ..control.callbacks import CallbackRaised
from ..control.stubs import Kind, Output, Question, Stub
from ..store import Sandbox
from .services import Services
from .user_functions import in_thread

logger = logging.getLogger(__name__)

#: What a shell has for a command that cannot be run at all.
CANNOT_RUN = 126


async def stand_in(
    services: Services, sandbox: Sandbox, question: Question, kind: Kind = "command"
) -> Optional[tuple[Stub, Output]]:
    """The first stub that answers, which counts as used, and its output; None: the command really runs.

    A function that raises has answered, with its exception as text. The exception is recorded and fails the test.
    """
    for stub in services.stubs.usable(sandbox.account_id, sandbox.id, kind) if services.stubs else ():
        if stub.is_exhausted or not stub.matches(question):
            continue
        output: Optional[Output] = stub.output
        if stub.function is not None:
            try:
                said = await in_thread(functools.partial(stub.function, question), f"stub-{stub.id}")
                output = stub.outcome(said)
            except (CallbackRaised, TypeError, ValueError) as error:
                raised = error.original if isinstance(error, CallbackRaised) else error
                text = services.callback_failed(sandbox, stub, raised)
                output = Output(f"the function of {stub} failed: {text}\n", 1)
        if output is not None and not stub.is_exhausted:
            stub.used += 1
            return stub, output
    return None


def may_stand_in(services: Services, sandbox: Sandbox, command: str) -> bool:
    """Whether some stub may answer, as far as texts tell."""
    usable = services.stubs.usable(sandbox.account_id, sandbox.id) if services.stubs else ()
    return any(not stub.is_exhausted and stub.matches(Question(sandbox.id, command)) for stub in usable)


@dataclass(frozen=True)
class Chosen:
    """What a command comes to. `stub`: the id of the one that answers; empty, with `output` None: it really runs."""

    stub: str = ""
    output: Optional[Output] = None

    async def run(
        self,
        sandbox: Sandbox,
        cage: Cage,
        command: str,
        limit: int = OUTPUT_LIMIT,
        separate: bool = False,
        seconds: Optional[float] = None,
        posix: bool = False,
    ) -> CommandResult:
        """As `Cage.shell`, with the sandbox's environment. Raises Gone."""
        if self.output is None:
            return await cage.shell(command, sandbox.env, limit, separate, seconds, posix)
        takes = self.output.seconds
        out_of_time = seconds is not None and takes > seconds
        if takes and await _gone_within(sandbox, seconds if out_of_time and seconds is not None else takes):
            raise SandboxGone("the sandbox's processes are gone")
        if out_of_time:
            return CommandResult(b"", 128 + signal.SIGKILL, False, timed_out=True)
        if self.output.error is not None:
            return CommandResult(b"", -1, False, self.output.error)
        said = self.output.text.encode("utf-8", "replace")
        return CommandResult(said[:limit], self.output.exit_code, len(said) > limit)

    def not_started(self, error: str) -> str:
        """The error text of a command that could not be started, the same for every way to run one: a stub's `error`
        word for word."""
        return error if self.stub else f"the command could not be started: {error}"


async def _gone_within(sandbox: Sandbox, seconds: float) -> bool:
    try:
        await asyncio.wait_for(sandbox.gone.wait(), seconds)
    except asyncio.TimeoutError:
        return False
    return True


async def choose(services: Services, sandbox: Sandbox, command: str) -> Chosen:
    found = await stand_in(services, sandbox, Question(sandbox.id, command)) if services.stubs else None
    return Chosen() if found is None else Chosen(found[0].id, found[1])


# --- in shells that a client types into


async def command_line(services: Services, sandbox: Sandbox, cage: Cage, output: Output) -> str:
    """What a shell has to run to give that answer: a process of its own, which takes its time, prints, can be
    interrupted and has the exit code. Raises Gone, OSError."""
    await cage.listen()
    runner = await services.workers.small.run(cage.programs.install_stub_runner)
    token = secrets.token_hex(8)
    services.stubs.leave(token, sandbox.id, output)
    return f"{runner} {token}"


# --- programs that ask


class CommandStubs:
    def __init__(self, services: Services) -> None:
        self._services = services

    async def answer(self, sandbox: Sandbox, question: dict[str, Any], answer: ShimReply) -> None:
        if question.get("kind") == "stub_output":
            token = str(next(iter(question.get("arguments", ())), ""))
            output = self._services.stubs.fetch(token, sandbox.id)
            await play(answer, output or Output("there is no such answer\n", CANNOT_RUN))
            return
        asked = _question(sandbox, question)
        if asked.stdin is None and self._needs_input(sandbox, asked):
            answer.request_stdin()
            return
        found = await stand_in(self._services, sandbox, asked, "program")
        if found is None:
            said = f"{asked.program}: command not found; none of its stubs fits {' '.join(asked.arguments)!r}"
            answer.run_real(missing=said)
            return
        stub, output = found
        line = " ".join([asked.program, *asked.arguments])
        self._services.note(sandbox, f"$ {line} ({stub.id} stands in: exit {output.exit_code})", "command")
        await play(answer, output)

    def _needs_input(self, sandbox: Sandbox, question: Question) -> bool:
        """Only what decides next: what is never asked for stays unread for the real program."""
        for stub in self._services.stubs.usable(sandbox.account_id, sandbox.id, "program"):
            if not stub.is_exhausted and stub.matches(question):
                return stub.reads_stdin
        return False


def _question(sandbox: Sandbox, question: dict[str, Any]) -> Question:
    stdin = question.get("stdin")
    return Question(
        sandbox.id,
        program=as_seen(sandbox, question.get("program", "")),
        arguments=tuple(as_seen(sandbox, word) for word in question.get("arguments", ())),
        cwd=as_seen(sandbox, question.get("cwd", "")),
        stdin=None if stdin is None else as_seen(sandbox, stdin),
    )


def as_seen(sandbox: Sandbox, text: object) -> str:
    """What a program inside has said, with the sandbox's own paths. A command line may hold bytes that are no text;
    what is kept of it has to be sent as JSON later."""
    said = str(text).encode("utf-8", "surrogatepass")
    if sandbox.cage is not None:
        said = sandbox.cage.layout.to_sandbox_text(said)
    return said.decode("utf-8", "surrogatepass").encode("utf-8", "replace").decode("utf-8")


async def play(answer: ShimReply, output: Output) -> None:
    """To a program that asked, piece by piece."""
    if output.error is not None:
        await asyncio.sleep(output.delay)
        answer.write(f"{output.error}\n")
        answer.finish(CANNOT_RUN)
        return
    for piece in output.pieces:
        await asyncio.sleep(output.delay)
        answer.write(piece)
    answer.finish(output.exit_code)


# --- adding and removing


async def install_shims(services: Services, sandbox: Sandbox) -> None:
    """Those of the programs that are stood in for in it. Raises Gone, OSError."""
    cage = sandbox.cage
    wanted = set(services.stubs.programs(sandbox.account_id, sandbox.id)) if services.stubs else set()
    if not wanted or cage is None:
        return
    await cage.listen()
    for program in wanted:
        cage.programs.install_shim(program)


async def added(services: Services, stub: Stub) -> None:
    """Puts it in front of the real program in every sandbox that there is."""
    await _everywhere(services, stub, functools.partial(install_shims, services))


async def removed(services: Services, stub: Stub) -> None:
    services.stubs.remove(stub)

    async def settle(sandbox: Sandbox) -> None:
        assert sandbox.cage is not None
        program = stub.program or ""
        if program not in services.stubs.programs(sandbox.account_id, sandbox.id):
            sandbox.cage.programs.remove_shim(program)

    await _everywhere(services, stub, settle)


async def clear(services: Services, account_id: str) -> None:
    """Remove those that were added for exactly this account, or for `*`."""
    for stub in services.stubs.added_for(account_id):
        await removed(services, stub)


async def _everywhere(services: Services, stub: Stub, work: Callable[[Sandbox], Awaitable[None]]) -> None:
    if stub.kind != "program":
        return
    for sandbox in list(services.store.sandboxes.values()):
        if sandbox.cage is None or not sandbox.cage.alive or not stub.applies_in(sandbox.account_id, sandbox.id):
            continue  # one that is started again gets its programs then
        try:
            await work(sandbox)
        except (SandboxGone, OSError) as error:
            logger.warning("%s: %s: %s", sandbox.id, stub, error)
