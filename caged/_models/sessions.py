"""Runs of agents, and what was recorded of them."""

from dataclasses import dataclass, field
from typing import Any, Optional

from .._literals import SessionStatus
from .._naming import public
from ._base import Model


@public
@dataclass(frozen=True)
class AgentSession(Model):
    """One run of an agent in a sandbox. Money is US dollars, times are RFC 3339.

    Attributes:
        status: One of active, completed, failed.
        agent_type: E.g. ``claude-code``; None for a run no known agent made. `model` likewise.
        tokens_in, tokens_out: Of the model.
        cost_usd: The same as `total_cost`.
        llm_cost, compute_cost: What `total_cost` is the sum of.
        trust_score: 0-100; None while there is none.
        event_count: How many events were recorded of it.
        duration_ms, ended_at: None while it is active.
    """

    id: str = ""
    sandbox_id: str = ""
    persona_id: Optional[str] = None
    status: SessionStatus = "active"
    agent_type: Optional[str] = None
    model: Optional[str] = None
    tokens_in: int = 0
    tokens_out: int = 0
    cost_usd: float = 0.0
    llm_cost: float = 0.0
    compute_cost: float = 0.0
    total_cost: float = 0.0
    trust_score: Optional[int] = None
    event_count: int = 0
    duration_ms: Optional[int] = None
    started_at: str = ""
    ended_at: Optional[str] = None


@public
@dataclass(frozen=True)
class Pagination(Model):
    """Where a page stands; pages are counted from 1."""

    page: int = 1
    per_page: int = 0
    total: int = 0
    total_pages: int = 0


@public
@dataclass(frozen=True)
class AgentSessionPage(Model):
    """One page of agent sessions, newest first."""

    data: list[AgentSession] = field(default_factory=list, hash=False)
    pagination: Pagination = field(default_factory=Pagination)


@public
@dataclass(frozen=True)
class ReplayEvent(Model):
    """One thing that happened in a session.

    Attributes:
        sequence: Grows within the session.
        type: One of `caged.EVENT_TYPES`, or ``other``.
        timestamp: RFC 3339.
        data: Any JSON; its shape depends on the type.
    """

    id: str = ""
    session_id: str = ""
    sequence: int = 0
    type: str = ""
    timestamp: str = ""
    duration_ms: float = 0.0
    data: Any = field(default=None, hash=False)


@public
@dataclass(frozen=True)
class ReplayPage(Model):
    """Some of a session's events.

    Attributes:
        has_more: Whether there are events after these; ask for them with ``after_seq=next_seq``.
        total: How many events match altogether.
    """

    events: list[ReplayEvent] = field(default_factory=list, hash=False)
    has_more: bool = False
    next_seq: int = 0
    total: int = 0


@public
@dataclass(frozen=True)
class ReplaySummary(Model):
    """A session's events in numbers; `types` counts them by type, times are RFC 3339."""

    session_id: str = ""
    event_count: int = 0
    start_time: str = ""
    end_time: str = ""
    duration_ms: float = 0.0
    types: dict[str, int] = field(default_factory=dict, hash=False)
