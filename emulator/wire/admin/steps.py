"""/_emulator/journal/steps: everything that happened, as one list that nests, and as it happens."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any, Callable, Optional

from starlette.responses import Response

from ...control.current_account import ALL_ACCOUNTS
from ...control.names import check_known
from ...control.patterns import matches_glob
from ...control.queries import StepQuery, StepStreamQuery, parameters_of
from ...control.schema import record_model
from ...control.step import FORMAT, KINDS, STATUSES, Step
from ...control.step_log import StepLog
from ...control.step_reader import StepReader
from ...platform.errors import invalid
from ...platform.platform import Platform
from ..operation import Body, Call, EmptyBody, Model, json_reply, no_content
from ..value_errors import shown
from .controls import last_of, refusing
from .names import check_query
from .operations import AdminOperations
from .step_stream import StepStream

operations = AdminOperations()
StepOut = record_model("StepOut", Step, Model)


class FileChangesIn(Body):
    """`enabled`: record which files a command, an agent's prompt or a restore has changed."""

    enabled: bool


class StepsOut(Model):
    """Steps, oldest first."""

    format: int
    #: Ask for what comes after it by `after`. 0 for all accounts: each has its own revisions.
    revision: int
    #: How many were dropped, because there were more than are kept.
    dropped: int
    steps: list[StepOut]  # type: ignore[valid-type]


def _logs(call: Call[Any]) -> list[StepLog]:
    account = call.account.id
    return list(call.platform.steps.known(None if account == ALL_ACCOUNTS else account))


def redacted_step(platform: Platform, step: Step) -> dict[str, Any]:
    """A step as it is answered."""
    return asdict(platform.journal.shown_step(step))


def _check(call: Call[Any]) -> None:
    with refusing():
        for name, known in (("kind", KINDS), ("status", STATUSES)):
            given = call.query(name)
            if given is not None:
                check_known(name, given, known, f"a {name} of steps")
    if _after(call) < 0:
        raise invalid(f"after: must be at least 0, not {_after(call)}; leave it out for all")
    check_query(call, statuses=False)


def _after(call: Call[Any]) -> int:
    return call.query_int("after") or 0


def _wanted(call: Call[Any]) -> Callable[[Step], bool]:
    """What decides whether the query selects a step."""
    kind, status, sandbox, after = call.query("kind"), call.query("status"), call.query("sandbox"), _after(call)

    def is_wanted(step: Step) -> bool:
        return (
            kind in (None, step.kind)
            and status in (None, step.status)
            and (sandbox is None or matches_glob(step.sandbox, sandbox))
            and step.revision > after
        )

    return is_wanted


@operations.call("GET", "/journal/steps", "journal.steps", reply=StepsOut, query=parameters_of(StepQuery))
async def list_steps(call: Call[EmptyBody]) -> Response:
    """All kinds of entries of the journal as steps, in the order in which they began. `sandbox` is a glob."""
    _check(call)
    logs, is_wanted = _logs(call), _wanted(call)
    found = [step for log in logs for step in log if is_wanted(step)]
    found.sort(key=lambda step: step.start)
    revision = 0 if call.account.id == ALL_ACCOUNTS else max(log.revision for log in logs)
    dropped = sum(log.dropped for log in logs)
    steps = [StepOut(**redacted_step(call.platform, step)) for step in last_of(call, found)]
    return json_reply(StepsOut(format=FORMAT, revision=revision, dropped=dropped, steps=steps))


@operations.call(
    "GET",
    "/journal/steps/stream",
    "journal.steps.stream",
    reply=bytes,
    media="text/event-stream",
    query=parameters_of(StepStreamQuery),
)
async def stream_steps(call: Call[EmptyBody]) -> Response:
    """Server-sent events: each step that is added or changed, with the step as JSON and its revision as the id, after
    those that there are. A client that was disconnected sends the last id that it has as `Last-Event-ID`. The stream
    ends when the account is deleted or the emulator stops, or with `wait`: so many seconds after the newest step."""
    if call.account.id == ALL_ACCOUNTS:
        raise invalid("account: a stream is of one account, because revisions are; name its id")
    _check(call)
    wait = _wait(call)
    log = call.platform.steps.of(call.account.id)
    # A larger revision is of an emulator that ran before at this address: nothing of this one was seen.
    since = seen if (seen := _last_event_id(call)) <= log.revision else 0
    reader = StepReader(log, since, _wanted(call))
    return StepStream(reader, wait, lambda step: redacted_step(call.platform, step))


def _wait(call: Call[Any]) -> Optional[float]:
    given = call.query("wait")
    if given is None:
        return None
    try:
        seconds = float(given)
    except ValueError:
        seconds = -1.0
    if not math.isfinite(seconds) or seconds < 0:
        raise invalid(
            f"wait: must be seconds from 0 up, not {shown(given)}; leave it out for a stream that does not end"
        )
    return seconds


def _last_event_id(call: Call[Any]) -> int:
    given: Optional[str] = call.request.headers.get("last-event-id")
    return int(given) if given and given.isdecimal() and len(given) < 20 else 0


@operations.call("PUT", "/journal/file-changes", "journal.file_changes", FileChangesIn)
async def file_changes(call: Call[FileChangesIn]) -> Response:
    """Record in each step of a command, an agent's prompt or a restore which files of /workspace it has changed, with
    their texts before and after (`changes` in its detail). Off by default, because each command is answered a little
    later; a reset switches it off again."""
    call.platform.file_changes.enable(call.account.id, call.body.enabled)
    return no_content()
