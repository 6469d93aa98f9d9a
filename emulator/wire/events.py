"""Events that clients send: POST /v1/events/ingest (wire-contract.md 3.7, wire-other-clients.md 2.6)."""

from __future__ import annotations

from typing import Annotated, Any, Optional

from pydantic import AfterValidator, Field
from starlette.responses import Response

from ..control.clock import from_rfc3339
from ..platform import limits
from ..platform.events import EventReport
from .operation import Body, Call, Model, Operations, json_reply
from .value_errors import NAME_CHARACTERS

operations = Operations()

_INT64 = 2**63 - 1
#: Warnings of each kind that one batch adds to the journal.
WARNINGS_MOST = 20


def _rfc3339(text: str) -> str:
    from_rfc3339(text)  # pydantic turns a ValueError into an error that names the field
    return text


class EventIn(Body):
    """An event. `timestamp` is mandatory. `data`, the former name of `payload`, is ignored. The account is that of the
    API key."""

    sizes = {
        **dict.fromkeys(("type", "timestamp", "id", "sandbox_id", "session_id", "process_id"), 1000),
        "payload": 50_000,  # platform/events.py cuts its texts
        "payload[]": limits.BODY_BYTES,
    }

    type: str
    timestamp: Annotated[str, AfterValidator(_rfc3339), Field(json_schema_extra={"format": "date-time"})]
    id: Optional[str] = None
    sandbox_id: Optional[str] = None
    session_id: Optional[str] = None
    process_id: Optional[str] = None
    duration_ns: Optional[Annotated[int, Field(ge=-_INT64, le=_INT64)]] = None
    meta: Optional[dict[str, str]] = None
    payload: Optional[dict[str, Any]] = None


class IngestEvents(Body):
    sizes = {"events": limits.BODY_BYTES}  # platform/events.py limits the number, with an error text of its own
    most_values = 50_000

    events: list[EventIn]


class Ingested(Model):
    """The number of accepted and of rejected events. An event is rejected when its sandbox is not the account's, or not
    that of its session."""

    accepted: int
    errors: int


@operations.add("POST", "/v1/events/ingest", "events.ingest", IngestEvents, reply=Ingested)
async def ingest(call: Call[IngestEvents]) -> Response:
    ignored = {name for event in call.body.events for name in event.model_extra or ()}
    named = [name[:NAME_CHARACTERS] for name in sorted(ignored)[:WARNINGS_MOST]]
    call.warnings.extend(f"unknown key {name!r} of an event is ignored" for name in named)
    warnings: list[str] = []
    reports = [_report(event) for event in call.body.events]
    accepted, errors = await call.platform.events.ingest(call.account, reports, warnings)
    call.warnings.extend(warnings[:WARNINGS_MOST])
    return json_reply(Ingested(accepted=accepted, errors=errors))


def _report(event: EventIn) -> EventReport:
    return EventReport(
        type=event.type,
        at=from_rfc3339(event.timestamp),
        duration_ms=(event.duration_ns or 0) / 1e6,
        payload=event.payload,
        id=event.id or "",
        sandbox_id=event.sandbox_id or "",
        session_id=event.session_id or "",
        process_id=event.process_id or "",
        meta=event.meta or {},
    )
