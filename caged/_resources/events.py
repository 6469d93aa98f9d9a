"""Events: report what happened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .. import _arguments as arguments
from .._call import Call, ExpectedContent
from .._constants import LARGEST_EVENT_BATCH
from .._errors import CagedError
from .._http import AsyncSession, Session
from .._models.events import EventPayload, IngestResponse
from .._tracebacks import short_tracebacks


def ingest(events: Sequence[EventPayload]) -> Call[IngestResponse]:
    if not isinstance(events, (list, tuple)):
        raise CagedError(f"events must be a list of EventPayload, not {type(events).__name__}")
    if len(events) > LARGEST_EVENT_BATCH:
        raise CagedError(
            f"one call takes at most {LARGEST_EVENT_BATCH} events, not {len(events)}; send them in batches"
        )
    rendered = []
    for index, event in enumerate(events):  # a comprehension is a frame before Python 3.12, and the warning counts them
        rendered.append(_render(f"events[{index}]", event))
    body = {"events": rendered}
    # Not repeatable: events without an id would count twice.
    return Call("POST", "/events/ingest", ExpectedContent.OBJECT, IngestResponse.from_api, body=body)


def _render(name: str, event: Any) -> dict[str, Any]:
    if not isinstance(event, EventPayload):
        raise CagedError(f"{name} must be an EventPayload, not {type(event).__name__}")
    rendered: dict[str, Any] = {"type": arguments.text(f"{name}.type", event.type)}
    rendered["timestamp"] = arguments.optional_text(f"{name}.timestamp", event.timestamp) or _now()
    for key in ("id", "sandbox_id", "session_id", "process_id"):
        value = arguments.optional_text(f"{name}.{key}", getattr(event, key))
        if value:
            rendered[key] = value
    if event.meta:
        rendered["meta"] = arguments.text_mapping(f"{name}.meta", event.meta)
    if event.duration_ns is not None:
        rendered["duration_ns"] = arguments.integer(f"{name}.duration_ns", event.duration_ns)
    payload = event.payload
    if event.data is not None:
        import warnings

        warnings.warn("EventPayload.data is deprecated; use EventPayload.payload", DeprecationWarning, stacklevel=5)
        payload = event.data if payload is None else payload
    if payload is not None:
        if not isinstance(payload, Mapping):
            raise CagedError(f"{name}.payload must be a dict, not {type(payload).__name__}")
        rendered["payload"] = dict(payload)
    return rendered


def _now() -> str:
    from datetime import datetime, timezone

    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@short_tracebacks
class Events:
    """``caged.events``"""

    def __init__(self, session: Session) -> None:
        self._session = session

    def ingest(self, events: Sequence[EventPayload]) -> IngestResponse:
        """Report up to 1000 events at once; one without a `timestamp` gets the present one.

        Raises:
            CagedError: More than 1000, or something that is no `EventPayload`; nothing is sent.
        """
        return self._session.send(ingest(events))


@short_tracebacks
class AsyncEvents:
    """``caged.events`` of `AsyncCaged`; every method is described in `Events`."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def ingest(self, events: Sequence[EventPayload]) -> IngestResponse:
        """See `Events.ingest`."""
        return await self._session.send(ingest(events))
