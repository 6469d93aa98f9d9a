"""What happens in a sandbox, recorded where a test looks for it: its log, its events, the journal."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Optional, Protocol, Union

from ..cage.output import OutputWatch
from ..control.agent_replies import ScriptedReply
from ..control.callbacks import CallbackErrors
from ..control.clock import Clock
from ..control.journal import TEXT_CHARACTERS, Journal
from ..control.records import CommandRecord, CommandSource
from ..control.redaction import redact
from ..control.step import Step, StepStatus
from ..control.step_output import OUTPUT_HEAD, OUTPUT_TAIL, KeptOutput
from ..control.steps import Steps
from ..control.stubs import Stub
from ..store import LogEntry, Sandbox
from .file_change_recording import FileChangeRecording
from .redaction import redact_for, redacted_end, secret_values, without_begun_secret

logger = logging.getLogger(__name__)

#: A control that may have a function of a test.
Control = Union[Stub, ScriptedReply]
#: Characters of a command's output that the journal keeps.
OUTPUT_KEPT = 16_384
#: Near misses of one step, and characters of one.
NEAR_MISSES, NEAR_MISS_CHARACTERS = 10, 1000
#: Seconds until a step first shows what its command has printed so far, how much longer each later wait is, and the
#: longest; bytes of the beginning and of the end of an output that are looked at for it.
PROGRESS_SECONDS, PROGRESS_GROWTH, PROGRESS_LONGEST = 0.25, 1.5, 2.0
PROGRESS_BYTES = 4 * OUTPUT_HEAD
#: Lines of a sandbox's log, and characters of one.
LOG_LINES, LOG_CHARACTERS = 5000, 8192


class EventRecorder(Protocol):
    """Records events of sandboxes."""

    def record(
        self, sandbox: Sandbox, kind: str, data: dict[str, Any], duration_ms: float = 0.0, has_step: bool = False
    ) -> Optional[Step]: ...


class SandboxRecorder:
    """Writes a sandbox's log, events and journal records. Secrets and credentials are redacted in all of them.

    Attributes:
        file_changes: Records what is changed in a workspace.
    """

    def __init__(
        self,
        clock: Clock,
        journal: Journal,
        events: EventRecorder,
        callback_errors: CallbackErrors,
        steps: Steps,
        file_changes: FileChangeRecording,
    ) -> None:
        self.file_changes = file_changes
        self._clock = clock
        self._journal = journal
        self._events = events
        self._steps = steps
        self._callback_errors = callback_errors

    def log(self, sandbox: Sandbox, message: str, kind: str = "lifecycle", is_redacted: bool = False) -> None:
        """Add a line of type `kind` to a sandbox's log. `is_redacted`: it is short, and redacted already."""
        if not is_redacted:
            message = redact_for(sandbox, message, LOG_CHARACTERS)
        sandbox.logs.append(LogEntry(self._clock.timestamp(), kind, message))
        del sandbox.logs[:-LOG_LINES]

    def record_event(
        self, sandbox: Sandbox, kind: str, data: dict[str, Any], duration_ms: float = 0.0, has_step: bool = False
    ) -> Optional[Step]:
        """Record an event that is just over. Return the step that shows it, if it has one of its own.

        Args:
            kind: One of docs/contract/wire-contract.md 3.7, e.g. `file_op`.
            has_step: Whether another step shows it.
        """
        return self._events.record(sandbox, kind, data, duration_ms, has_step)

    def record_refused_connection(self, sandbox: Sandbox, host: str, port: int) -> None:
        """Record that a program of the sandbox wanted to reach a host that is not on the allowlist."""
        self.log(sandbox, f"{host}:{port} was refused: it is not on the allowlist", "network")
        self.record_event(sandbox, "network", {"host": host, "port": port, "allowed": False})

    def begin_command(self, sandbox: Sandbox, command: str, source: CommandSource) -> RunningCommand:
        """Note that a command begins. `source`: what runs it."""
        shown = redact_for(sandbox, command, TEXT_CHARACTERS)
        step = self._steps.begin(
            "command", f"$ {shown}", account=sandbox.account_id, sandbox=sandbox.id, command=shown, source=source
        )
        return RunningCommand(self, self._clock, sandbox, command, shown, source, step)

    def record_command(
        self,
        run: RunningCommand,
        data: dict[str, Any],
        milliseconds: float,
        reason: str,
        output: Optional[str],
        printed: Optional[str],
        times: Iterable[tuple[float, float]],
        stub: str,
        truncated: bool,
    ) -> None:
        """Record the end of a command, as an event, in the journal and in its step; see `RunningCommand.end`."""
        sandbox, code = run.sandbox, data.get("exit_code")
        self._events.record(sandbox, "command", data, milliseconds, has_step=True)
        self._journal.add_command(
            CommandRecord(
                self._clock.timestamp(),
                sandbox.account_id,
                sandbox.id,
                run.shown,
                code,
                run.source,
                round(milliseconds, 3),
                None if output is None else redact_for(sandbox, output, OUTPUT_KEPT, mark=False),
                stub,
                truncated,
            )
        )
        run.step.controls = [stub] if stub else []
        kept = {} if printed is None else self.kept_output(sandbox, printed).detail(times)
        self.note_near_misses(sandbox, run.step, run.near_misses)
        if reason:
            kept["error"] = redact_for(sandbox, reason, OUTPUT_KEPT)
        status: StepStatus = "error" if reason or code not in (None, 0) else "ok"
        self._steps.finish(run.step, status, exit_code=code, truncated=truncated, **kept)

    def abandon_command(self, run: RunningCommand, reason: str) -> None:
        """End the step of a command that did not come to an end. `reason`: why."""
        self.note_near_misses(run.sandbox, run.step, run.near_misses)
        self._steps.finish(run.step, "error", error=redact_for(run.sandbox, reason, OUTPUT_KEPT))

    def note_near_misses(self, sandbox: Sandbox, step: Optional[Step], lines: Sequence[str]) -> None:
        """Add near misses to a step, up to NEAR_MISSES in all."""
        if step is not None and lines:
            known = step.detail.get("near_misses", ())
            found = [redact_for(sandbox, line, NEAR_MISS_CHARACTERS) for line in lines]
            step.detail["near_misses"] = [*dict.fromkeys([*known, *found])][:NEAR_MISSES]
            self._steps.changed(step)

    def note_failure(self, sandbox: Sandbox, step: Step, reason: str) -> None:
        """Note that what a step shows has failed. `reason`: why."""
        self._steps.finish(step, "error", error=redact_for(sandbox, reason, OUTPUT_KEPT))

    def record_output(
        self, run: RunningCommand, printed: str, length: int, times: Iterable[tuple[float, float]]
    ) -> None:
        """Add to the step of a command, which is over, what it printed.

        Args:
            printed: Its beginning and its end; between them something may be missing.
            length: Characters of all of it.
            times: As of `RunningCommand.end`.
        """
        run.step.detail.update(self.kept_output(run.sandbox, printed, length).detail(times))
        self._steps.changed(run.step)

    @staticmethod
    def kept_output(sandbox: Sandbox, text: str, length: Optional[int] = None) -> KeptOutput:
        """What a step keeps of a command's output. `length`: its characters, where there are more than in `text`."""
        length = len(text) if length is None else length
        if length <= OUTPUT_HEAD + OUTPUT_TAIL:
            return KeptOutput(length, redact_for(sandbox, text, OUTPUT_HEAD + OUTPUT_TAIL, mark=False))
        secrets = secret_values(sandbox)
        head = redact(text, secrets, OUTPUT_HEAD, mark=False)
        return KeptOutput(length, head, redacted_end(text, secrets, OUTPUT_TAIL))

    def record_stubbed_program(self, sandbox: Sandbox, line: str, exit_code: int, output: str, stub: str) -> None:
        """Record a call of a stubbed program as a step of the command that makes it. `line`: its words."""
        shown = redact_for(sandbox, line, TEXT_CHARACTERS)
        self._steps.add(
            "command",
            f"$ {shown}",
            outcome="ok" if exit_code == 0 else "error",
            account=sandbox.account_id,
            sandbox=sandbox.id,
            controls=[stub],
            command=shown,
            source="program",
            exit_code=exit_code,
            **self.kept_output(sandbox, output).detail(),
        )

    def record_lifecycle(
        self, sandbox: Sandbox, action: str, message: str, kind: str = "lifecycle", **more: Any
    ) -> Optional[Step]:
        """Record a step in a sandbox's life, as a line of type `kind` in its log and as a lifecycle event."""
        self.log(sandbox, message, kind)
        return self.record_event(sandbox, "lifecycle", {"action": action, "message": message, **more})

    def record_error(self, sandbox: Sandbox, message: str) -> None:
        """Record an error in a sandbox, as a line in its log and as an error event."""
        self.log(sandbox, message, "error")
        self.record_event(sandbox, "error", {"message": message})

    def record_callback_error(self, sandbox: Sandbox, control: Control, error: BaseException) -> str:
        """Record that the function of a stub or reply raised, or that the reply's files could not be written, so that
        the test can be failed by it.

        Returns:
            The exception, in one line or more.
        """
        recorded = self._callback_errors.add(
            at=self._clock.timestamp(),
            account=sandbox.account_id,
            sandbox=sandbox.id,
            control=control.id,
            described=str(control),
            error=error,
            allowed=control.allow_errors,
        )
        logger.error("%s: %s failed: %s", sandbox.id, control, recorded.error)
        return recorded.error


class RunningCommand:
    """A command between its begin and its end.

    Attributes:
        sandbox: Its sandbox.
        command: The command, with secrets in it.
        shown: The command, redacted.
        source: What runs it.
        step: Its step.
        near_misses: Why no stub has answered it, where stubs apply in the sandbox.
    """

    def __init__(
        self,
        recorder: SandboxRecorder,
        clock: Clock,
        sandbox: Sandbox,
        command: str,
        shown: str,
        source: CommandSource,
        step: Step,
    ) -> None:
        self.sandbox = sandbox
        self.command = command
        self.shown = shown
        self.source: CommandSource = source
        self.step = step
        self._recorder = recorder
        self._clock = clock
        self.near_misses: Sequence[str] = ()
        self._begun = clock.stopwatch()
        self._begun_really = time.perf_counter()

    @property
    def milliseconds(self) -> float:
        """How long it has run, by the account's clock."""
        return (self._clock.stopwatch() - self._begun) * 1000

    @property
    def seconds(self) -> float:
        """How long ago it began, in real time."""
        return time.perf_counter() - self._begun_really

    @contextmanager
    def abandoned_on_error(self) -> Iterator[None]:
        """When the block raises, end its step with the reason, and record nothing else."""
        try:
            yield
        except BaseException as error:
            self._recorder.abandon_command(self, str(error) or type(error).__name__)
            raise

    def showing(self, watch: OutputWatch) -> AbstractContextManager[None]:
        """Show in its step what `watch` has seen, again and again while a block of `with` runs."""
        return _Progress(self._recorder, self, watch)

    def end(
        self,
        exit_code: Optional[int],
        *,
        error: str = "",
        reason: str = "",
        output: Optional[str] = None,
        printed: Optional[str] = None,
        times: Iterable[tuple[float, float]] = (),
        stub: str = "",
        truncated: bool = False,
        has_exit_code: bool = True,
        duration_ms: Optional[float] = None,
        **more: Any,
    ) -> None:
        """Record its end.

        Args:
            exit_code: None when it has none.
            error: Why it has none, for its event.
            reason: Why it has none, for its step; by default `error`.
            output: What it printed, for its record in the journal.
            printed: What it printed, for its step; None when that is not known.
            times: Seconds since it began, and the part of `printed`, from 0 to 1, that was printed by then.
            stub: The id of the stub that answered it.
            truncated: Whether the output was cut at its limit.
            has_exit_code: Whether its event has an exit code, which may be null.
            duration_ms: How long it took; by default the time since it began.
            more: More data of its event.
        """
        data = {"command": self.command, **({"exit_code": exit_code} if has_exit_code else {}), **more}
        if error:
            data["error"] = error
        duration = self.milliseconds if duration_ms is None else duration_ms
        self._recorder.record_command(self, data, duration, reason or error, output, printed, times, stub, truncated)


class _Progress(AbstractContextManager[None]):
    """Adds what a command has printed so far to its step, at growing intervals, where there is something new."""

    def __init__(self, recorder: SandboxRecorder, run: RunningCommand, watch: OutputWatch) -> None:
        self._recorder, self._run, self._watch = recorder, run, watch
        self._shown = 0
        self._wait = PROGRESS_SECONDS
        self._timer: Optional[asyncio.TimerHandle] = None
        watch.on_reading = self._start  # most commands are over before that

    def _start(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._wait, self._show)

    def _show(self) -> None:
        size = self._watch.size
        if size > self._shown:
            self._shown = size
            text = self._watch.text
            if len(text) > 2 * PROGRESS_BYTES:
                text = text[:PROGRESS_BYTES] + text[-PROGRESS_BYTES:]
            printed = without_begun_secret(self._run.sandbox, text.decode("utf-8", "replace"))
            length = size if len(text) < size else len(printed)
            self._recorder.record_output(self._run, printed, length, self._watch.times)
        self._wait = min(PROGRESS_LONGEST, self._wait * PROGRESS_GROWTH)
        self._timer = asyncio.get_running_loop().call_later(self._wait, self._show)

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()
