"""Running one command."""

from __future__ import annotations

import asyncio
import codecs
import re
from collections.abc import AsyncIterator, Coroutine, Iterable
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, Callable, Optional

from caged._workspace.command_script import INLINE

from ..cage.command_result import CommandResult
from ..cage.file_tree import OutsideOfSandbox
from ..cage.init_client import SandboxGone
from ..cage.output import OutputWatch
from ..control.fault_registry import Injection
from ..control.step import Step, within
from ..store import AccountRecord, Sandbox
from ..workers import Workers, checkpoint
from . import limits
from .command_stubs import NO_STUB, CommandStubs, StubChoice
from .errors import not_found
from .live_sandboxes import LiveSandbox, LiveSandboxes
from .recorder import SandboxRecorder
from .redaction import redact_for, without_begun_secret
from .sandboxes import Sandboxes
from .signals import Signals
from .submitted_command import SubmittedCommand, submitted

#: How programs report that they were given no more memory. The kernel reports nothing about a process's own limit.
_OUT_OF_MEMORY = re.compile(rb"MemoryError|[Cc]annot allocate memory|out of memory|bad_alloc|memory exhausted")
#: Bytes of output that are decoded on the event loop.
DECODED_AT_ONCE = 64 * 1024


@dataclass(frozen=True)
class ExecOutcome:
    """The result of a command. `error` is set, and `exit_code` -1, only when the command could not be run at all."""

    output: str
    exit_code: int
    error: Optional[str] = None


def _decode(output: bytes) -> str:
    """Blocks."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    pieces = []
    for at in range(0, len(output), DECODED_AT_ONCE):
        checkpoint()
        pieces.append(decoder.decode(output[at : at + DECODED_AT_ONCE]))
    return "".join([*pieces, decoder.decode(b"", final=True)])


async def _read(live: LiveSandbox, path: str) -> bytes:
    """The beginning of a file of the sandbox; nothing where it cannot be read."""
    if live.cage is None:
        return b""
    try:
        return await live.cage.read(path, INLINE - 1)
    except (OSError, OutsideOfSandbox, SandboxGone):
        return b""


def _crash(live: LiveSandbox, injection: Injection) -> None:
    if live.cage is not None and live.cage.alive:
        live.cage.crash()
        injection.trigger()


@asynccontextmanager
async def _kill_during(live: LiveSandbox, injection: Injection) -> AsyncIterator[None]:
    """Kill the sandbox's processes during the block, after the fault's delay, when the fault says so."""
    if injection.fault.outcome != "dies":
        yield
        return
    loop, delay = asyncio.get_running_loop(), injection.delay
    dying = loop.call_later(delay, _crash, live, injection) if delay else loop.call_soon(_crash, live, injection)
    try:
        if not delay:
            await asyncio.sleep(0)  # before a stub that answers at once; a timer would run after it
        yield
    finally:
        dying.cancel()


def _out_of_budget(sandbox: Sandbox) -> SandboxGone:
    budget = f"its budget of ${sandbox.budget or 0:.2f} was used up"
    return SandboxGone(f"{budget}, and it was paused, before the command ended")


class _Run:
    """One command: what is recorded of it."""

    def __init__(self, recorder: SandboxRecorder, sandbox: Sandbox, command: SubmittedCommand) -> None:
        self._recorder = recorder
        self._sandbox = sandbox
        self.command = command
        self._running = recorder.begin_command(sandbox, command.shown, command.source)
        self.choice = NO_STUB
        self.watch = OutputWatch()

    def choose(self, choice: StubChoice) -> None:
        """Note what runs in place of the command."""
        self.choice = choice
        self._running.near_misses = choice.near_misses

    @property
    def milliseconds(self) -> float:
        return self._running.milliseconds

    @property
    def seconds(self) -> float:
        """How long it has run, in real time."""
        return self._running.seconds

    @property
    def step(self) -> Step:
        return self._running.step

    def record(
        self,
        outcome: str,
        code: Optional[int] = None,
        output: Optional[str] = None,
        truncated: bool = False,
        times: Iterable[tuple[float, float]] = (),
        reason: str = "",
        printed: Optional[str] = None,
    ) -> None:
        """Record its end in the log, the journal and among the events.

        Args:
            code: None when it has none.
            reason: Why it has none, for its step; by default `outcome`.
            printed: What it printed, for its step; by default `output`.
        """
        stub = self.choice.stub
        self._running.end(
            code,
            error=outcome if code is None else "",
            reason=reason,
            output=output,
            printed=output if printed is None else printed,
            times=times,
            stub=stub,
            truncated=truncated,
        )
        shown = redact_for(self._sandbox, self.command.shown, limits.LOGGED_COMMAND)
        line = f"$ {shown} ({outcome}{f', {stub}' if stub else ''})"
        self._recorder.log(self._sandbox, line, "command", is_redacted=code is not None)

    def record_killed(self, outcome: str, reason: str = "") -> None:
        """Record that it did not come to its end, with what it had printed by then."""
        text = "" if self.command.header else self.watch.text.decode("utf-8", "replace")
        printed = without_begun_secret(self._sandbox, text)
        times = self.watch.times
        self.record(outcome, times=times, reason=reason, printed=printed if self.choice.output is None else "")

    def showing_progress(self) -> AbstractContextManager[None]:
        """Show in its step what it prints, while the block runs: it may take long, or not end. What a script of the
        SDK prints is about the command's end."""
        return nullcontext() if self.command.header else self._running.showing(self.watch)


class Execs:
    def __init__(
        self,
        live: LiveSandboxes,
        workers: Workers,
        sandboxes: Sandboxes,
        command_stubs: CommandStubs,
        recorder: SandboxRecorder,
        signals: Signals,
    ) -> None:
        self._live = live
        self._workers = workers
        self._sandboxes = sandboxes
        self._command_stubs = command_stubs
        self._recorder = recorder
        #: By sandbox: what ends the wait for a command.
        self._waiting: dict[str, set[Callable[[], None]]] = {}
        signals.connect("out_of_budget", self._end_waiting)

    async def run(
        self, account: AccountRecord, sandbox_id: str, command: str, injection: Optional[Injection] = None
    ) -> ExecOutcome:
        """Run a command and wait for its end. When this is cancelled (the client has disconnected), kill the command
        and its children.

        Args:
            injection: A fault for the command.
        """
        sandbox = self._sandboxes.get(account, sandbox_id)
        submission = submitted(command)
        if injection is not None and injection.fault.unreachable:
            injection.trigger()
            reason = injection.fault.detail or f"sandbox {sandbox_id} cannot be reached"
            return self._refused(sandbox, submission, reason)
        live = self._live.of(sandbox)
        if sandbox.status != "running" or live.cage is None:
            return self._not_running(sandbox, submission)
        async with self._sandboxes.active(sandbox):
            async with live.workspace_lock:
                pass  # a snapshot, a restore or a pause in progress comes first
            if sandbox.status == "destroyed":
                raise not_found("sandbox", sandbox_id)
            if sandbox.status != "running":
                return self._not_running(sandbox, submission)
            run = _Run(self._recorder, sandbox, submission)
            try:
                with within(run.step):
                    result = await self._result(run, live, sandbox, injection)
            except asyncio.CancelledError:
                reason = f"killed: the client gave up after {run.seconds:.1f} s"
                run.record_killed("killed: the client disconnected", reason)
                raise
            except SandboxGone as error:
                run.record_killed(f"not run: {error}")
                return ExecOutcome("", -1, f"sandbox {sandbox_id} cannot run commands: {error}")
        return await self._outcome(run, live, sandbox, result)

    async def _result(
        self, run: _Run, live: LiveSandbox, sandbox: Sandbox, injection: Optional[Injection]
    ) -> CommandResult:
        if not run.command.is_helper:
            run.choose(await self._command_stubs.choose(sandbox, run.command.shown))
        if injection is None:
            return await self._ended(run, live, sandbox)
        async with _kill_during(live, injection):
            return await self._ended(run, live, sandbox)

    async def _ended(self, run: _Run, live: LiveSandbox, sandbox: Sandbox) -> CommandResult:
        assert live.cage is not None
        async with self._recorder.file_changes.noting(sandbox, run.step):
            work = run.choice.run(sandbox, live.cage, run.command.text, limits.OUTPUT_BYTES, watch=run.watch)
            with run.showing_progress():
                if run.choice.output is None:
                    return await self._until_out_of_budget(sandbox, run.watch, work)
                return await self._unless_out_of_budget(sandbox, work)

    async def _outcome(self, run: _Run, live: LiveSandbox, sandbox: Sandbox, result: CommandResult) -> ExecOutcome:
        milliseconds = round(run.milliseconds)
        if result.error is not None:
            run.record(f"not started: {result.error}")
            return ExecOutcome("", -1, run.choice.not_started(result.error))
        output = await self._decoded(result.output)
        if result.truncated:
            output += f"\n[caged: output cut after {limits.OUTPUT_BYTES // 1024**2} MiB]\n"
        answer, seen = ExecOutcome(output, result.code), result
        if run.command.is_wrapped:
            answer, seen = await self._of_program(run, live, result, output)
            if seen.output is not result.output:
                output = await self._decoded(seen.output)
        run.record(f"exit {seen.code}, {milliseconds} ms", seen.code, output, seen.truncated, seen.times)
        if seen.code:
            self._record_lack_of_memory(live, sandbox, seen.output[-4000:])
        return answer

    async def _of_program(
        self, run: _Run, live: LiveSandbox, result: CommandResult, output: str
    ) -> tuple[ExecOutcome, CommandResult]:
        """Where a script of the SDK ran a program's command, or a stub answered in its place: what the client gets, and
        the end of the program's command."""
        seen = replace(result, times=())  # when the script printed
        if run.choice.output is not None:
            return ExecOutcome(*run.command.as_printed(output, result.code)), seen
        small = len(output) <= DECODED_AT_ONCE
        found = run.command.result(output) if small else await self._workers.walk.run(run.command.result, output)
        if found is not None:
            seen = replace(seen, output=found.stdout + found.stderr)
        elif files := run.command.files_of_output(output):
            seen = replace(seen, output=b"".join([await _read(live, path) for path in files]))
        return ExecOutcome(output, result.code), seen

    def _not_running(self, sandbox: Sandbox, command: SubmittedCommand) -> ExecOutcome:
        hint = "; resume it first" if sandbox.status in ("paused", "stopped") else ""
        return self._refused(sandbox, command, f"sandbox {sandbox.id} is {sandbox.status}, not running{hint}")

    def _refused(self, sandbox: Sandbox, command: SubmittedCommand, reason: str) -> ExecOutcome:
        """Answer that a command could not be run. It has a step, and is not an event: the sandbox did not see it."""
        begun = self._recorder.begin_command(sandbox, command.shown, command.source)
        self._recorder.abandon_command(begun, reason)
        return ExecOutcome("", -1, reason)

    async def _decoded(self, output: bytes) -> str:
        """A large output is decoded in a thread, in pieces: bytes that are not text take long."""
        if len(output) <= DECODED_AT_ONCE:
            return output.decode("utf-8", "replace")
        return await self._workers.walk.run(_decode, output)

    def _record_lack_of_memory(self, live: LiveSandbox, sandbox: Sandbox, output: bytes) -> None:
        """Record an error when a command failed for lack of memory."""
        group = live.cage.memory if live.cage is not None else None
        if group is not None:
            before, sandbox.memory_kills = sandbox.memory_kills, group.kills()
            if sandbox.memory_kills > before:
                memory = sandbox.memory_mb
                self._recorder.record_error(sandbox, f"killed for want of memory: the sandbox has {memory} MB")
        elif _OUT_OF_MEMORY.search(output):
            self._recorder.record_error(sandbox, f"out of memory: a process here has {sandbox.memory_mb} MB")

    # --- the end of a budget

    def _end_waiting(self, sandbox: Sandbox) -> None:
        for end in list(self._waiting.get(sandbox.id, ())):
            end()

    async def _until_out_of_budget(
        self, sandbox: Sandbox, watch: OutputWatch, work: Coroutine[Any, Any, CommandResult]
    ) -> CommandResult:
        """Do for a command that runs what `_unless_out_of_budget` does, without a task of its own."""

        def end() -> None:
            watch.abort(_out_of_budget(sandbox))

        self._waiting.setdefault(sandbox.id, set()).add(end)
        try:
            return await work
        finally:
            self._stop_waiting(sandbox, end)

    async def _unless_out_of_budget(self, sandbox: Sandbox, work: Coroutine[Any, Any, CommandResult]) -> CommandResult:
        """Return the result of `work`. Kill the command and raise SandboxGone when the sandbox's budget is used up
        before: the sandbox will never be resumed, so the command would not end."""
        loop = asyncio.get_running_loop()
        running = loop.create_task(work)  # of its own, so that its cancellation cannot be mistaken for a disconnect
        used_up: asyncio.Future[None] = loop.create_future()

        def end() -> None:
            if not used_up.done():
                used_up.set_result(None)

        self._waiting.setdefault(sandbox.id, set()).add(end)
        either: set[asyncio.Future[Any]] = {running, used_up}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not running.done():
                running.cancel()
                await asyncio.wait({running})
            if running.cancelled():
                raise _out_of_budget(sandbox)
            return running.result()
        except asyncio.CancelledError:  # the client has disconnected
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            raise
        finally:
            self._stop_waiting(sandbox, end)

    def _stop_waiting(self, sandbox: Sandbox, end: Callable[[], None]) -> None:
        waiting = self._waiting.get(sandbox.id)
        if waiting is not None:
            waiting.discard(end)
            if not waiting:
                del self._waiting[sandbox.id]
