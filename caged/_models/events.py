"""Events that a program reports itself."""

from dataclasses import dataclass, field
from typing import Any, Optional

from .._literals import EventType
from .._naming import public
from ._base import Model

EVENT_TYPES = ("llm_call", "tool_call", "file_op", "command", "network", "error", "lifecycle", "desktop")
"""The types the platform knows; any other is recorded as ``other``."""


@public
@dataclass
class EventPayload:
    """An event to report.

    Attributes:
        type: One of `EVENT_TYPES`.
        sandbox_id, session_id, id, process_id: Not sent when empty.
        timestamp: RFC 3339; None means the moment it is sent.
        duration_ns: Nanoseconds.
        meta: Labels.
        payload: Any JSON object.
        data: Deprecated, use `payload`.
    """

    type: EventType
    sandbox_id: str = ""
    session_id: str = ""
    id: str = ""
    process_id: str = ""
    timestamp: Optional[str] = None
    duration_ns: Optional[int] = None
    meta: dict[str, str] = field(default_factory=dict)
    payload: Optional[dict[str, Any]] = None
    data: Optional[dict[str, Any]] = None


@public
@dataclass(frozen=True)
class IngestResponse(Model):
    """How many events were taken, and how many were not."""

    accepted: int = 0
    errors: int = 0
