"""The steps of a test: those of the emulator, with the phases of the test and the calls of the SDK above them."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Callable

from caged.emulator import EmulatorError
from caged.emulator.control.clock import from_rfc3339, rfc3339
from caged.emulator.control.step import Step, title_of
from caged.emulator.trace.call_steps import call_step, sandbox_of, times_of

if TYPE_CHECKING:
    from ._calls import CallLog, CallRecord, RequestSeen
    from ._emulator_source import AnyEmulator

#: How the error of a call begins that did not wait for its answer.
_GAVE_UP = re.compile(r"\w*Timeout\w*:|it was interrupted")
#: Calls of the plugin itself, which are not part of a test.
_OWN = (
    "emulator.accounts.create",
    "emulator.accounts.remove",
    "emulator.callback_errors.clear",
    "emulator.journal.file_changes",
)


@dataclass
class Phase:
    """A phase of a test.

    Attributes:
        name: `setup`, `call` or `teardown`.
        outcome: `passed`, `failed`, `skipped`, or `running`.
        began: Seconds since the epoch.
        duration: Seconds.
    """

    name: str
    outcome: str
    began: float
    duration: float


class StepSource:
    """The steps on an emulator, also those of accounts that are deleted before their test is over.

    Args:
        fetch: Whether the steps of an account that is deleted are fetched from an emulator in another process.
    """

    def __init__(self, emulator: AnyEmulator, fetch: bool) -> None:
        self._emulator, self._fetch = emulator, fetch
        self._deleted: dict[str, Callable[[], list[Step]]] = {}
        #: Names of the accounts that fixtures made, by id.
        self.names: dict[str, str] = {}
        notes = emulator._admin.notes.shared
        notes.before_deletion.append(self._keep)
        self._created = notes.created_accounts

    def close(self) -> None:
        """Keep no more steps."""
        try:
            self._emulator._admin.notes.shared.before_deletion.remove(self._keep)
        except (EmulatorError, ValueError):  # a test stopped it, or it was restarted
            pass

    def clear(self) -> None:
        """Begin with the next test."""
        for account in self._deleted:
            self.names.pop(account, None)
        self._deleted.clear()

    def _keep(self, account: str) -> None:
        """Keep the steps of an account that is about to be deleted."""
        link = self._emulator._admin
        if link.is_local:
            # The steps themselves, which the emulator drops: nothing is copied for a test that passes.
            kept = list(link.local("the steps of a test").steps.of(account))
            self._deleted[account] = lambda: [replace(step, detail=dict(step.detail)) for step in kept]
            return
        steps: list[Step] = []
        try:
            if self._fetch:
                with link.notes.paused():
                    steps = self._emulator.for_account(account).journal.steps()
        except (EmulatorError, ValueError):
            pass
        self._deleted[account] = lambda: steps

    def steps(self, since: float) -> list[Step]:
        """All steps that began after a moment (seconds since the epoch), oldest first.

        An emulator in this process has no other tests' steps. Of another one, these are the steps of accounts that this
        process has made.
        """
        first = rfc3339(since)
        found: dict[tuple[str, str], Step] = {}
        for step in self._all():
            if step.wall >= first and not (step.kind == "control" and step.detail.get("operation") in _OWN):
                found[step.account, step.id] = step
        return sorted(found.values(), key=lambda step: step.start)

    def _all(self) -> Iterable[Step]:
        for kept in self._deleted.values():
            yield from kept()
        try:
            if self._emulator._admin.is_local:
                yield from self._emulator.journal.steps(account="*")
                return
            known = {one.id for one in self._emulator.accounts()}
            for account in [one for one in (*self.names, *self._created) if one in known]:
                with self._emulator._admin.notes.paused():
                    steps = self._emulator.journal.steps(account=account)
                yield from steps
        except (EmulatorError, ValueError):
            return  # a test stopped the emulator, or deleted the account


def assemble(
    nodeid: str, root: str, steps: list[Step], phases: list[Phase], calls: CallLog
) -> tuple[list[Step], float]:
    """Put the steps of a test together: phase, call, and what the call caused.

    Args:
        root: Paths of sources are shown relative to it.
        steps: Those of the emulator, oldest first.

    Returns:
        All steps in the order in which they began, and the clock of the steps at 0 of `time.time`.
    """
    offset = _offset(steps, calls.calls, phases)
    epoch = time.time() - time.perf_counter()  # of perf_counter, in real time
    clock = offset - epoch
    accounts = {step.parent: step.account for step in steps if step.kind == "request"}
    made = [_phase_step(nodeid, phase, clock) for phase in phases]
    refused = {step.parent: text for step in steps if step.kind == "request" and (text := _not_done(step))}
    redacted = calls.redactor.redacted
    made_calls = [
        call_step(call, root, offset, epoch, accounts, redacted, refused.get(call.id, ""), call.nearest)
        for call in calls.calls
    ]
    _note_given_up(made_calls, steps)
    seen = [_request_step(f"r{number}", one, offset, epoch) for number, one in enumerate(calls.requests, 1)]
    ids = {step.id for step in (*steps, *made_calls)}
    for step in (*steps, *made_calls, *seen):
        step.test = nodeid
        if step.parent not in ids:
            step.parent = _phase_of(step, made)
    every = [*made, *made_calls, *seen, *steps]
    return sorted(every, key=lambda step: step.start), clock


def _offset(steps: list[Step], calls: list[CallRecord], phases: list[Phase]) -> float:
    """What has to be added to `time.perf_counter` to get the clock of the emulator's steps.

    A request begins after the call that makes it. So the smallest difference is about right, and no request seems to
    begin before its call. The steps' real time is exact to a millisecond only.
    """
    begun = {call.id: call.began for call in calls}
    differences = [step.start - begun[step.parent] for step in steps if step.parent in begun]
    if differences:
        return min(differences)
    epoch = time.time() - time.perf_counter()
    if steps:
        return steps[0].start - (from_rfc3339(steps[0].wall) - epoch)
    return epoch - phases[0].began if phases else epoch


def _phase_step(nodeid: str, phase: Phase, clock: float) -> Step:
    running = phase.outcome == "running"
    wall = rfc3339(phase.began)
    return Step(
        id=phase.name,
        kind="test",
        title=phase.name,
        account="",
        at=wall,
        wall=wall,
        start=round(phase.began + clock, 6),
        test=nodeid,
        status="running" if running else "error" if phase.outcome == "failed" else "ok",
        duration_ms=None if running else round(phase.duration * 1000, 3),
        detail={"phase": phase.name, "outcome": phase.outcome},
    )


def _not_done(step: Step) -> str:
    """Why a request was answered with success although it was not done; empty for any other."""
    status = step.detail.get("status")
    return str(step.detail.get("error", "")) if isinstance(status, int) and 200 <= status < 300 else ""


def _note_given_up(calls: list[Step], steps: list[Step]) -> None:
    """Say of requests that went on after their call was over, and of their commands, that the client gave up. The
    emulator may have noticed first that the sandbox was destroyed, right after that."""
    ended = {
        call.id: call.start + (call.duration_ms or 0) / 1000
        for call in calls
        if call.duration_ms is not None and _GAVE_UP.match(call.detail.get("error", ""))
    }
    left = {}
    for step in steps:
        end = ended.get(step.parent) if step.kind == "request" else None
        if end is not None and (step.duration_ms is None or step.start + step.duration_ms / 1000 > end):
            left[step.id] = step.detail["error"] = f"the client gave up after {max(0.0, end - step.start):.1f} s"
            step.status = "error" if step.status == "ok" else step.status
    for step in steps:
        if step.kind == "command" and step.parent in left and step.status == "error" and step.detail.get("error"):
            step.detail["error"] = f"killed: {left[step.parent]}"


def _request_step(id: str, seen: RequestSeen, offset: float, epoch: float) -> Step:
    """A request of a live run, without bodies."""
    detail: dict[str, Any] = {"method": seen.method, "path": seen.path, "status": seen.status}
    if seen.error:
        detail["warnings"] = [seen.error]
    return Step(
        **times_of(seen.began, seen.ended, offset, epoch),
        id=id,
        kind="request",
        title=title_of(f"{seen.method} {seen.path}"),
        account="",
        parent=seen.parent,
        sandbox=sandbox_of(seen.path),
        status="ok" if 100 <= seen.status < 400 else "error",
        detail={"operation": "", "query": "", "request": "", "response": "", "warnings": [], **detail},
    )


def _phase_of(step: Step, phases: list[Step]) -> str:
    """The phase in which a step began that no other step caused."""
    begun = [phase for phase in phases if phase.start <= step.start]
    return (begun[-1] if begun else phases[0]).id if phases else ""
