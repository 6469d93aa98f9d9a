"""Agent sessions and their replay (wire-contract.md 3.6, wire-other-clients.md 2.5)."""

from __future__ import annotations

import math
from typing import Any, Optional

from starlette.responses import Response

from ..control.clock import rfc3339
from ..platform.platform import Platform
from ..store import AgentSession
from .operation import Call, EmptyBody, Model, Operations, json_reply

operations = Operations()

PER_PAGE = 20
PER_PAGE_MOST = 100
REPLAY = 100
REPLAY_MOST = 1000


class SessionOut(Model):
    """An agent session. Nullable keys are present, with null. `llm_cost` + `compute_cost` = `total_cost` = `cost_usd`,
    in USD."""

    id: str
    sandbox_id: str
    persona_id: Optional[str]
    status: str
    agent_type: Optional[str]
    model: Optional[str]
    tokens_in: int
    tokens_out: int
    cost_usd: float
    llm_cost: float
    compute_cost: float
    total_cost: float
    trust_score: Optional[int]
    event_count: int
    duration_ms: Optional[int]
    started_at: str
    ended_at: Optional[str]


class Pagination(Model):
    page: int
    per_page: int
    total: int
    total_pages: int


class SessionPage(Model):
    data: list[SessionOut]
    pagination: Pagination


class ReplayEventOut(Model):
    id: str
    session_id: str
    sequence: int
    type: str
    timestamp: str
    duration_ms: float
    data: Any


class ReplayOut(Model):
    """A page of a session's events. The next page is that of `after_seq` = `next_seq`. `total`: the number of kept
    events of the session, of the requested type."""

    events: list[ReplayEventOut]
    has_more: bool
    next_seq: int
    total: int


class SummaryOut(Model):
    session_id: str
    event_count: int
    start_time: str
    end_time: str
    duration_ms: float
    types: dict[str, int]


def serialize(platform: Platform, session: AgentSession) -> SessionOut:
    """The session as clients read it."""
    # Most sessions are short, and a millisecond of a small machine costs a few billionths of a dollar.
    llm, compute = round(session.llm_cost, 9), round(platform.agent_sessions.compute_cost(session), 9)
    total = round(llm + compute, 9)
    ended = session.ended_at
    return SessionOut(
        id=session.id,
        sandbox_id=session.sandbox_id,
        persona_id=None,
        status=session.status,
        agent_type=session.agent_type,
        model=session.model,
        tokens_in=session.tokens_in,
        tokens_out=session.tokens_out,
        cost_usd=total,
        llm_cost=llm,
        compute_cost=compute,
        total_cost=total,
        trust_score=session.trust_score,
        event_count=session.history.count,
        duration_ms=None if ended is None else max(0, round((ended - session.started_at) * 1000)),
        started_at=rfc3339(session.started_at),
        ended_at=None if ended is None else rfc3339(ended),
    )


def _page_size(value: Optional[int], default: int, most: int) -> int:
    """The size of a page: the default for an absent or non-positive value, and at most `most`."""
    return default if value is None or value <= 0 else min(value, most)


@operations.add("GET", "/v1/sandboxes/{id}/sessions", "sessions.list_by_sandbox", reply=list[SessionOut])
async def list_by_sandbox(call: Call[EmptyBody]) -> Response:
    sandbox = call.platform.sandboxes.get(call.account, call.param("id"))
    return json_reply(
        [serialize(call.platform, session) for session in call.platform.agent_sessions.of_sandbox(sandbox)]
    )


@operations.add("GET", "/v1/sessions", "sessions.list", reply=SessionPage, query={"page": int, "per_page": int})
async def list_all(call: Call[EmptyBody]) -> Response:
    page = max(1, call.query_int("page") or 1)
    size = _page_size(call.query_int("per_page"), PER_PAGE, PER_PAGE_MOST)
    sessions = call.platform.agent_sessions.of(call.account)
    start = (page - 1) * size
    return json_reply(
        SessionPage(
            data=[serialize(call.platform, session) for session in sessions[start : start + size]],
            pagination=Pagination(
                page=page, per_page=size, total=len(sessions), total_pages=math.ceil(len(sessions) / size)
            ),
        )
    )


@operations.add("GET", "/v1/sessions/{id}", "sessions.get", reply=SessionOut)
async def get(call: Call[EmptyBody]) -> Response:
    return json_reply(serialize(call.platform, call.platform.agent_sessions.get(call.account, call.param("id"))))


@operations.add(
    "GET",
    "/v1/sessions/{id}/replay",
    "sessions.replay",
    reply=ReplayOut,
    query={"after_seq": int, "limit": int, "type": str},
)
async def replay(call: Call[EmptyBody]) -> Response:
    session = call.platform.agent_sessions.get(call.account, call.param("id"))
    limit = _page_size(call.query_int("limit"), REPLAY, REPLAY_MOST)
    page = session.history.page(call.query_int("after_seq") or 0, limit, call.query("type") or "")
    events = [
        ReplayEventOut(
            id=event.id,
            session_id=event.session_id,
            sequence=event.sequence,
            type=event.type,
            timestamp=event.timestamp,
            duration_ms=event.duration_ms,
            data=event.data,
        )
        for event in page.events
    ]
    return json_reply(ReplayOut(events=events, has_more=page.more, next_seq=page.next_sequence, total=page.total))


@operations.add("GET", "/v1/sessions/{id}/replay/summary", "sessions.replay_summary", reply=SummaryOut)
async def replay_summary(call: Call[EmptyBody]) -> Response:
    session = call.platform.agent_sessions.get(call.account, call.param("id"))
    history = session.history
    start = session.started_at if history.first is None else history.first
    end = start if history.last is None else history.last
    return json_reply(
        SummaryOut(
            session_id=session.id,
            event_count=history.count,
            start_time=rfc3339(start),
            end_time=rfc3339(end),
            duration_ms=round((end - start) * 1000, 3),
            types=dict(history.types),
        )
    )
