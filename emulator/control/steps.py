"""Steps: what happened to an account, as one ordered list that nests. The trace of a test
is made of it; `journal.steps` and `journal.follow` show it. The format: docs/trace-format.md."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Callable, Literal, Optional, get_args

from . import current_account
from .clock import Clock, rfc3339
from .records import value

#: The version of the format. It changes when a reader of the old one would misread the new one.
FORMAT = 1
StepKind = Literal[
    "test", "call", "request", "command", "prompt", "file", "sandbox", "control", "alert", "event", "error"
]
KINDS: tuple[str, ...] = get_args(StepKind)
StepStatus = Literal["running", "ok", "error"]
STATUSES: tuple[str, ...] = get_args(StepStatus)

#: Kept of each account: steps, and bytes of their details. The oldest steps lose their details first.
KEEP = 10_000
KEEP_BYTES = 32 * 1024**2
#: What a step takes besides its detail, about; also one that has lost it.
STEP_BYTES = 1000
#: Characters of a title, which is one line.
TITLE_CHARACTERS = 300
#: Of the output of a command: characters at its beginning and at its end that a step keeps, and pieces with a time.
OUTPUT_HEAD, OUTPUT_TAIL = 48 * 1024, 16 * 1024
PIECES = 200
#: The detail in place of one that was dropped.
DROPPED = {"dropped": f"the steps of the account had more than {KEEP_BYTES // 1024**2} MiB of details"}


@dataclass
class Step:
    """Something that happened, or that is happening."""

    id: str = value("Id of the step, unique in the trace.", column=True)
    kind: str = value(f"{', '.join(f'`{kind}`' for kind in KINDS[:-1])} or `{KINDS[-1]}`.", column=True)
    title: str = value("What happened, in one line.", column=True, is_long=True)
    account: str = value("Id of the account; empty for a request that was not authenticated.")
    at: str = value("When it began, by the account's clock (RFC 3339).", column=True)
    wall: str = value("When it began in real time (RFC 3339).")
    start: float = value("When it began, in seconds since the emulator started, by a clock that is never set.")
    parent: str = value("Id of the step that caused it; empty where none did.", default="")
    sandbox: str = value("Id of the sandbox in which it happened; empty where it happened in none.", default="")
    test: str = value("Node id of the test during which it happened, where that is known.", default="")
    status: str = value("`running`, `ok` or `error`.", column=True, default="running")
    duration_ms: Optional[float] = value(
        "How long it took in real time; null while it runs.", column=True, default=None
    )
    controls: list[str] = value("Ids of the faults, stubs and replies that applied to it.", default=[])
    detail: dict[str, Any] = field(default_factory=dict, metadata={"help": "What is known of it, by its kind: below."})
    revision: int = value("Grows with each change of a step of the account.", default=0)


_CURRENT: ContextVar[Optional[Step]] = ContextVar("caged_step", default=None)


def current() -> Optional[Step]:
    """The step that the present work belongs to."""
    return _CURRENT.get()


def set_current(step: Optional[Step]) -> None:
    """Make the rest of this task, and tasks that it starts, belong to a step."""
    _CURRENT.set(step)


@contextmanager
def within(step: Optional[Step]) -> Iterator[None]:
    """Make a block belong to a step."""
    token = _CURRENT.set(step)
    try:
        yield
    finally:
        _CURRENT.reset(token)


class StepLog:
    """The steps of one account, in the order in which they began."""

    def __init__(self) -> None:
        self._steps: dict[str, Step] = {}
        #: Bytes of the details of those steps that have them, oldest first.
        self._weights: dict[str, int] = {}
        self._bytes = 0
        self._listeners: list[Callable[[Optional[Step]], None]] = []
        #: That of the step that was changed last.
        self.revision = 0
        #: How many steps were dropped because there were more than KEEP.
        self.dropped = 0
        #: Whether nothing is added any more.
        self.is_closed = False

    def __iter__(self) -> Iterator[Step]:
        return iter(list(self._steps.values()))

    def __len__(self) -> int:
        return len(self._steps)

    def get(self, step_id: str) -> Optional[Step]:
        return self._steps.get(step_id)

    def add(self, step: Step) -> None:
        """Add a step, and call the listeners."""
        if self.is_closed:
            return
        self._steps[step.id] = step
        self.changed(step)

    def changed(self, step: Step) -> None:
        """Note that a step was added or changed, and call the listeners. One that was removed stays removed."""
        if step.id not in self._steps:
            return
        self.revision += 1
        step.revision = self.revision
        self._bytes += (weight := _weight(step.detail) + STEP_BYTES) - self._weights.pop(step.id, 0)
        self._weights[step.id] = weight
        while self._bytes > KEEP_BYTES and len(self._weights) > 1:
            self._drop_detail(next(iter(self._weights)))
        while len(self._steps) > KEEP:
            oldest = next(iter(self._steps))
            self._bytes -= self._weights.pop(oldest, 0)
            del self._steps[oldest]
            self.dropped += 1
        for listener in tuple(self._listeners):
            listener(step)

    def _drop_detail(self, step_id: str) -> None:
        self._bytes -= self._weights.pop(step_id)
        self._steps[step_id].detail = dict(DROPPED)

    def clear(self) -> None:
        """Remove all steps. Revisions go on, so that a reader does not take a new step for one that it has seen."""
        self._steps.clear()
        self._weights.clear()
        self._bytes = 0

    def close(self) -> None:
        """Add nothing any more, and call the listeners with None."""
        self.is_closed = True
        for listener in tuple(self._listeners):
            listener(None)

    @contextmanager
    def listening(self, listener: Callable[[Optional[Step]], None]) -> Iterator[None]:
        """Call `listener(step)` during the block for each step that is added or changed, and `listener(None)` when the
        log is closed. It must not wait."""
        self._listeners.append(listener)
        try:
            yield
        finally:
            self._listeners.remove(listener)

    def add_listener(self, listener: Callable[[Optional[Step]], None]) -> None:
        """Call a listener, as `listening` does, until the log is gone."""
        self._listeners.append(listener)

    @property
    def listeners(self) -> int:
        """How many listeners there are."""
        return len(self._listeners)


class Steps:
    """The steps of all accounts.

    Args:
        clock: The accounts' clocks.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._started = time.perf_counter()
        self._numbers = itertools.count(1)
        self._logs: dict[str, StepLog] = {}
        self._listeners: list[Callable[[Optional[Step]], None]] = []
        #: The commands that run, by sandbox, oldest first.
        self._running: dict[str, list[Step]] = {}
        self._is_closed = False
        self._removed: Optional[StepLog] = None
        self._on_removal: Callable[[Step], None] = lambda step: None

    def now(self) -> float:
        """The present time on the clock of `Step.start`."""
        return round(time.perf_counter() - self._started, 6)

    def of(self, account: str) -> StepLog:
        """The steps of an account; of none (an empty id) for requests that were not authenticated."""
        log = self._logs.get(account)
        if log is None:
            log = self._logs[account] = StepLog()
            log.is_closed = self._is_closed
            for listener in self._listeners:
                log.add_listener(listener)
        return log

    def listen(self, listener: Callable[[Optional[Step]], None]) -> None:
        """Call `listener(step)` from now on for each step of any account that is added or changed, and `listener(None)`
        when the steps of an account end. It must not wait."""
        self._listeners.append(listener)
        for log in self._logs.values():
            log.add_listener(listener)

    def known(self, account: Optional[str]) -> Iterable[StepLog]:
        """The steps of one account, or, with None, of each account."""
        return list(self._logs.values()) if account is None else [self._logs.get(account) or StepLog()]

    def keep_removed(self, on_removal: Callable[[Step], None]) -> StepLog:
        """Keep, from now on, the steps that `clear` and `drop` remove, for a recording of everything that happens.

        Args:
            on_removal: Called with each step that is removed.

        Returns:
            Where they are kept, within the bounds of one account.
        """
        self._on_removal, self._removed = on_removal, StepLog()
        return self._removed

    def clear(self, account: Optional[str] = None) -> None:
        """Remove the steps of one account, or of all."""
        for log in self.known(account):
            self._clear(log)

    def _clear(self, log: StepLog) -> None:
        if self._removed is not None:
            for step in log:
                self._on_removal(step)
                self._removed.add(step)
        log.clear()

    def drop(self, account: str) -> None:
        """Remove all that is known of an account, which was deleted, and end what listens to it."""
        log = self._logs.pop(account, None)
        if log is not None:
            self._clear(log)
            log.close()

    def close(self) -> None:
        """End what listens to any account: the emulator stops."""
        self._is_closed = True
        for log in self.known(None):
            log.close()

    def begin(
        self,
        kind: StepKind,
        title: str,
        *,
        account: Optional[str] = None,
        sandbox: str = "",
        parent: Optional[str] = None,
        is_assigned: bool = True,
        **detail: Any,
    ) -> Step:
        """Add a step that begins now.

        Args:
            kind: Its kind.
            title: What happens, redacted; its first line is kept.
            account: Id of the account; by default the current one.
            sandbox: Id of the sandbox in which it happens.
            parent: Id of the step that causes it; by default the current step, or else the command that was started
                last in the sandbox and runs.
            is_assigned: Whether its account is known. Otherwise it is added by `assign`, or when it ends.
            detail: What is known of it, redacted.
        """
        account = current_account.current() if account is None else account
        step = Step(
            id=f"s{next(self._numbers)}",
            kind=kind,
            title=one_line(title),
            account=account,
            at=self._clock.timestamp(),
            wall=rfc3339(time.time()),
            start=self.now(),
            parent=self._parent(account, sandbox) if parent is None else parent,
            sandbox=sandbox,
            detail=detail,
        )
        if is_assigned:
            self.of(account).add(step)
        if kind == "command":
            self._running.setdefault(sandbox, []).append(step)
        return step

    def assign(self, step: Step, account: str) -> None:
        """Add a step that has just begun to its account, whose clock it shows."""
        step.account, step.at = account, self._clock.timestamp()
        self.of(account).add(step)

    def finish(self, step: Step, outcome: StepStatus = "ok", **detail: Any) -> None:
        """End a step now, if it has not ended, and add to its detail. `outcome`: its status."""
        self._stop_running(step)
        step.status = outcome
        if step.duration_ms is None:
            step.duration_ms = max(0.0, round((time.perf_counter() - self._started - step.start) * 1000, 3))
        step.detail.update(detail)
        if step.revision:
            self.changed(step)
        else:
            self.of(step.account).add(step)

    def seconds_since(self, step: Step) -> float:
        """How long ago a step began, in real time."""
        return max(0.0, time.perf_counter() - self._started - step.start)

    def changed(self, step: Step) -> None:
        """Note that a step was changed. Of an account that was deleted nothing is kept."""
        log = self._logs.get(step.account)
        if log is not None:
            log.changed(step)

    def add(
        self,
        kind: StepKind,
        title: str,
        *,
        outcome: StepStatus = "ok",
        duration_ms: float = 0.0,
        account: Optional[str] = None,
        sandbox: str = "",
        parent: Optional[str] = None,
        controls: Iterable[str] = (),
        **detail: Any,
    ) -> Step:
        """Add a step that is over.

        Args:
            outcome: Its status.
            duration_ms: How long it took; it began so long ago.
            controls: Ids of the controls that applied to it; empty ones are left out.

        The other arguments are those of `begin`.
        """
        step = self.begin(kind, title, account=account, sandbox=sandbox, parent=parent, **detail)
        step.start = max(0.0, round(step.start - duration_ms / 1000, 6))
        step.duration_ms = round(duration_ms, 3)
        step.controls = [control for control in controls if control]
        self.finish(step, outcome)
        return step

    def running_command(self, sandbox: str) -> Optional[Step]:
        """The command that was started last in a sandbox and runs."""
        running = self._running.get(sandbox)
        return running[-1] if running else None

    def _parent(self, account: str, sandbox: str) -> str:
        cause = current()
        if cause is None or cause.account != account:
            cause = self.running_command(sandbox)
        return cause.id if cause is not None else ""

    def _stop_running(self, step: Step) -> None:
        running = self._running.get(step.sandbox)
        if running and step in running:
            running.remove(step)
            if not running:
                del self._running[step.sandbox]


def one_line(text: str) -> str:
    """The first line of a text, cut to a title. A carriage return is visible: a terminal would write over the line."""
    text = text.replace("\r\n", "\n").replace("\r", "\u240d").strip()
    first = text.split("\n", 1)[0][: TITLE_CHARACTERS + 1]
    return f"{first[:TITLE_CHARACTERS]}…" if len(first) > TITLE_CHARACTERS or len(first) < len(text) else first


@dataclass(frozen=True)
class KeptOutput:
    """What is kept of an output: its beginning and its end, redacted.

    Attributes:
        length: Characters of the whole output.
        head: Its first OUTPUT_HEAD characters, redacted.
        tail: Its last OUTPUT_TAIL characters, redacted; empty where `head` is all of it.
    """

    length: int
    head: str
    tail: str = ""

    def detail(self, times: Iterable[tuple[float, float]] = ()) -> dict[str, Any]:
        """The output in the detail of a step.

        Args:
            times: Seconds since the command began, and the part of the output, from 0 to 1, that was printed by then.

        Returns:
            `output`: pieces, each with the seconds after which it was printed. `output_cut`, where some of it is not
            kept: how many characters of `output` stand before the gap, and how many the gap has.
        """
        text, pieces, done, at = self.head + self.tail, [], 0, 0.0
        for seconds, part in [*itertools.islice(times, PIECES - 1), (None, 1.0)]:
            end = self._place(part)
            at = at if seconds is None else round(seconds, 3)
            if end > done:
                pieces.append([at, text[done:end]])
                done = end
        found: dict[str, Any] = {"output": pieces}
        if self.tail:
            found["output_cut"] = {"after": len(self.head), "characters": self.length - OUTPUT_HEAD - OUTPUT_TAIL}
        return found

    def _place(self, part: float) -> int:
        """Where a part of the output ends in what is kept. Redaction changes lengths, so that it is about right."""
        if part >= 1:
            return len(self.head) + len(self.tail)
        place = part * self.length
        whole_head = min(self.length, OUTPUT_HEAD)
        if place <= whole_head:
            return int(len(self.head) * place / whole_head) if whole_head else 0
        in_tail = max(0.0, place - (self.length - OUTPUT_TAIL))
        return len(self.head) + int(len(self.tail) * in_tail / OUTPUT_TAIL)


def _weight(value_: Any) -> int:
    """About how many bytes a detail takes. Keys are shared, and so not counted."""
    kind = type(value_)
    if kind is dict:
        return sys.getsizeof(value_) + sum(map(_weight, value_.values()))
    if kind is list or kind is tuple:
        return sys.getsizeof(value_) + sum(map(_weight, value_))
    return sys.getsizeof(value_)
