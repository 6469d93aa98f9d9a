"""Command stubs in sandboxes: which stub answers a command, and the shims in front of stubbed programs."""

from __future__ import annotations

import asyncio
import functools
import logging
import secrets
import signal
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Callable, Optional

from ..cage.cage import Cage
from ..cage.command_result import CommandResult
from ..cage.init_client import SandboxGone
from ..cage.output import OUTPUT_LIMIT, OutputWatch
from ..control import near_misses
from ..control.callbacks import CallbackRaised
from ..control.stub_registry import Stubs
from ..control.stubs import Invocation, Output, Stub, StubKind
from ..store import Sandbox, Store
from ..workers import Workers
from .live_sandboxes import LiveSandboxes
from .recorder import SandboxRecorder
from .user_functions import in_thread

logger = logging.getLogger(__name__)

#: The exit code that shells give to a command that cannot be run at all.
CANNOT_RUN = 126


@dataclass(frozen=True)
class StubChoice:
    """What runs in place of a command.

    Attributes:
        stub: The id of the stub that answers; empty when the command really runs.
        output: The stub's output; None when the command really runs.
        gone: Set when the sandbox's processes are gone; needed with an output.
        near_misses: Why no stub answers, where stubs apply in the sandbox.
    """

    stub: str = ""
    output: Optional[Output] = None
    gone: Optional[asyncio.Event] = None
    near_misses: Sequence[str] = ()

    async def run(
        self,
        sandbox: Sandbox,
        cage: Cage,
        command: str,
        limit: int = OUTPUT_LIMIT,
        separate: bool = False,
        seconds: Optional[float] = None,
        posix: bool = False,
        watch: Optional[OutputWatch] = None,
    ) -> CommandResult:
        """Return the stub's output, or the command's as `Cage.shell` does with the sandbox's environment.

        Raises:
            SandboxGone: The sandbox's processes ended before.
        """
        if self.output is None:
            return await cage.shell(command, sandbox.env, limit, separate, seconds, posix, watch)
        takes = self.output.seconds
        out_of_time = seconds is not None and takes > seconds
        if takes and await self._gone_within(seconds if out_of_time and seconds is not None else takes):
            raise SandboxGone("the sandbox's processes are gone")
        if out_of_time:
            return CommandResult(b"", 128 + signal.SIGKILL, False, timed_out=True)
        if self.output.error is not None:
            return CommandResult(b"", -1, False, self.output.error)
        text = self.output.text.encode("utf-8", "replace")
        return CommandResult(text[:limit], self.output.exit_code, len(text) > limit)

    async def _gone_within(self, seconds: float) -> bool:
        assert self.gone is not None
        try:
            await asyncio.wait_for(self.gone.wait(), seconds)
        except asyncio.TimeoutError:
            return False
        return True

    def not_started(self, error: str) -> str:
        """The error text of a command that could not be started: a stub's `error` unchanged."""
        return error if self.stub else f"the command could not be started: {error}"


#: The command really runs, and no stub applies in the sandbox.
NO_STUB = StubChoice()


class CommandStubs:
    def __init__(
        self,
        stubs: Stubs,
        store: Store,
        live: LiveSandboxes,
        workers: Workers,
        recorder: SandboxRecorder,
    ) -> None:
        self._stubs = stubs
        self._store = store
        self._live = live
        self._workers = workers
        self._recorder = recorder

    # --- choosing

    async def answer(
        self, sandbox: Sandbox, invocation: Invocation, kind: StubKind = "command"
    ) -> Optional[tuple[Stub, Output]]:
        """Return the first stub that answers, which counts as used, and its output; None: the command really runs.

        A function that raises has answered, with its exception as text. The exception is recorded and fails the test.
        """
        for stub in self._usable(sandbox, kind):
            if stub.is_exhausted or not stub.matches(invocation):
                continue
            output: Optional[Output] = stub.output
            if stub.function is not None:
                try:
                    returned = await in_thread(functools.partial(stub.function, invocation), f"stub-{stub.id}")
                    output = stub.outcome(returned)
                except (CallbackRaised, TypeError, ValueError) as error:
                    raised = error.original if isinstance(error, CallbackRaised) else error
                    text = self._recorder.record_callback_error(sandbox, stub, raised)
                    output = Output(f"the function of {stub} failed: {text}\n", 1)
            if output is not None and not stub.is_exhausted:
                stub.used += 1
                return stub, output
        return None

    def may_answer(self, sandbox: Sandbox, command: str) -> bool:
        """Whether a stub's pattern matches the command; its function may still decline."""
        return self.first_match(sandbox, Invocation(sandbox.id, command)) is not None

    def first_match(self, sandbox: Sandbox, invocation: Invocation, kind: StubKind = "command") -> Optional[Stub]:
        """The stub that decides next, not used by this."""
        return next(
            (stub for stub in self._usable(sandbox, kind) if not stub.is_exhausted and stub.matches(invocation)), None
        )

    def has_any(self, sandbox: Sandbox) -> bool:
        """Whether some stub of commands applies to the sandbox."""
        return bool(self._usable(sandbox, "command"))

    def has_programs(self, sandbox: Sandbox) -> bool:
        """Whether some program is stubbed in the sandbox."""
        return bool(self._usable(sandbox, "program"))

    def _usable(self, sandbox: Sandbox, kind: StubKind) -> Sequence[Stub]:
        return self._stubs.usable(sandbox.account_id, sandbox.id, kind) if self._stubs else []

    async def choose(self, sandbox: Sandbox, command: str) -> StubChoice:
        """Decide what runs in place of a command."""
        if not self._stubs:
            return NO_STUB
        invocation = Invocation(sandbox.id, command)
        found = await self.answer(sandbox, invocation)
        if found is None:
            return StubChoice(near_misses=self.near_misses(sandbox, invocation))
        return StubChoice(found[0].id, found[1], self._live.of(sandbox).gone)

    def near_misses(self, sandbox: Sandbox, invocation: Invocation, kind: StubKind = "command") -> Sequence[str]:
        """Why no stub of those that apply in the sandbox answers; to be called when none has."""
        usable = self._usable(sandbox, kind)
        return near_misses.of_stubs(invocation, usable) if usable else ()

    # --- in shells that a client types into

    async def command_line(self, sandbox: Sandbox, cage: Cage, output: Output) -> str:
        """Return what a shell has to run to print an output: a process of its own, which takes its time, can be
        interrupted and has the exit code.

        Raises:
            SandboxGone, OSError: The program that prints cannot be installed.
        """
        await cage.listen()
        runner = await self._workers.small.run(cage.programs.install_stub_runner)
        token = secrets.token_hex(8)
        self._stubs.add_pending(token, sandbox.id, output)
        return f"{runner} {token}"

    # --- shims in front of programs

    async def install_shims(self, sandbox: Sandbox) -> None:
        """Install a shim for each stubbed program. Raises SandboxGone, OSError."""
        cage = self._live.of(sandbox).cage
        programs = set(self._stubs.programs(sandbox.account_id, sandbox.id)) if self._stubs else set()
        if not programs or cage is None:
            return
        await cage.listen()
        for program in programs:
            cage.programs.install_shim(program)

    async def install(self, stub: Stub) -> None:
        """Install a new stub's shim in every sandbox that runs."""
        await self._in_each_sandbox(stub, lambda sandbox, _cage: self.install_shims(sandbox))

    async def remove(self, stub: Stub) -> None:
        """Remove a stub, and its shims where no other stub of the program is left."""
        self._stubs.remove(stub)

        async def remove_shim(sandbox: Sandbox, cage: Cage) -> None:
            program = stub.program or ""
            if program not in self._stubs.programs(sandbox.account_id, sandbox.id):
                cage.programs.remove_shim(program)

        await self._in_each_sandbox(stub, remove_shim)

    async def clear(self, account_id: str) -> None:
        """Remove the stubs that were added for exactly this account; for `*`, every one."""
        for stub in self._stubs.cleared_by(account_id):
            await self.remove(stub)

    async def _in_each_sandbox(self, stub: Stub, work: Callable[[Sandbox, Cage], Awaitable[None]]) -> None:
        if stub.kind != "program":
            return
        for sandbox in list(self._store.sandboxes.values()):
            cage = self._live.of(sandbox).cage
            if cage is None or not cage.alive or not stub.applies_in(sandbox.account_id, sandbox.id):
                continue  # a stopped one gets its shims when it is started again
            try:
                await work(sandbox, cage)
            except (SandboxGone, OSError) as error:
                logger.warning("%s: %s: %s", sandbox.id, stub, error)
