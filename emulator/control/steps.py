"""Steps: what happened to an account, as one ordered list that nests. The trace of a test
is made of it; `journal.steps` and `journal.follow` show it. The format: docs/trace-format.md."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable
from typing import Any, Callable, Optional

from . import current_account
from .clock import Clock, rfc3339
from .step import Step, StepKind, StepStatus, current, title_of
from .step_log import StepLog


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
        at: str = "",
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
            at: The account's time; by default it is looked up.
            is_assigned: Whether its account is known. Otherwise it is added by `assign`, or when it ends.
            detail: What is known of it, redacted.
        """
        account = current_account.current() if account is None else account
        step = Step(
            id=f"s{next(self._numbers)}",
            kind=kind,
            title=title_of(title),
            account=account,
            at=at or self._clock.timestamp(),
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

    def assign(self, step: Step, account: str, at: str) -> None:
        """Add a step that has just begun to its account. `at`: the account's time."""
        step.account, step.at = account, at
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
