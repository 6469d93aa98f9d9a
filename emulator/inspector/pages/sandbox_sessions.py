"""The tab of the sessions of agents in a sandbox, each with a replay of its events."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Optional

from ...control.clock import from_rfc3339
from ...platform.errors import ApiError
from ...trace.html import Html, element, joined
from ...trace.text import counted, duration, money, plain
from ...truncation import truncate
from ..components import empty, live, moment, python, status, table
from ..page import PageRequest, Tab
from ..public_api import segment

_COLUMNS = ("Session", "Agent", "Status", "Model", "Tokens in, out", "Cost", "Events", "Started")
#: Events of a replay that are shown at once, and characters of a value in one.
_EVENTS, _CHARACTERS = 200, 4000


async def render(request: PageRequest, sandbox: Mapping[str, Any]) -> Sequence[Html]:
    try:
        session = request.query.get("session")
        if session:
            return [element("div", *await _replay(request, sandbox["id"], session), class_="content")]
        content = await _list(request, sandbox["id"])
    except ApiError as error:
        back = element("a", "All sessions", href=request.link("sandboxes", sandbox["id"], "sessions"))
        content = [empty(f"There are no sessions: {error}.", hint=back if request.query.get("session") else None)]
    return [live("sessions", *content, class_="content")]


async def _list(request: PageRequest, id: str) -> list[Html]:
    found = await request.api.get(f"/v1/sandboxes/{segment(id)}/sessions")
    lines = [f'caged.sessions.list_by_sandbox("{id}")']
    if not found:
        prompt = (
            '# a sandbox with an agent: caged.sandboxes.create(agents=["claude"])\n'
            f'caged.sandboxes.exec("{id}", \'claude -p "Fix the test"\')'
        )
        return [empty("No agent has run in this sandbox. Run one, and its session appears here:", prompt)]
    rows = [
        (
            element("a", element("code", one["id"]), href=_link(request, id, one["id"])),
            one["agent_type"],
            status(one["status"]),
            one["model"],
            element("span", f"{one['tokens_in']:,}, {one['tokens_out']:,}", class_="number"),
            element("span", money(one["total_cost"]), class_="number"),
            element("span", f"{one['event_count']:,}", class_="number"),
            moment(one["started_at"]),
        )
        for one in found
    ]
    return [table(_COLUMNS, rows, "Sessions"), python(lines)]


def _link(request: PageRequest, sandbox: str, session: str, **query: str) -> str:
    return request.link("sandboxes", sandbox, "sessions", session=session, **query)


async def _replay(request: PageRequest, sandbox: str, id: str) -> list[Optional[Html]]:
    path = f"/v1/sessions/{segment(id)}"
    session = await request.api.get(path)
    if session["sandbox_id"] != sandbox:
        raise ApiError(404, f"session {id} is not of this sandbox")
    summary = await request.api.get(f"{path}/replay/summary")
    kind, after = request.query.get("type", ""), _number(request.query.get("after", ""))
    page = await request.api.get(f"{path}/replay", type=kind or None, after_seq=after, limit=_EVENTS)
    start = from_rfc3339(summary["start_time"])
    types = [("", session["event_count"]), *sorted(summary["types"].items())]
    links = [
        element(
            "a",
            name or "all",
            " ",
            element("span", f"{number:,}", class_="muted number"),
            href=_link(request, sandbox, id, **({"type": name} if name else {})),
            aria_current="page" if name == kind else None,
        )
        for name, number in types
    ]
    more = {"after": str(page["next_seq"]), **({"type": kind} if kind else {})}
    events = [_event(one, start) for one in page["events"]]
    return [
        _heading(request, sandbox, session),
        element(
            "div",
            element("nav", *links, class_="event-types", aria_label="Types of events"),
            element("button", "▶ Play", type="button", data_play=True, hidden=True),
            class_="replay-top",
        ),
        element("ol", joined(events), class_="replay", data_replay=True) if events else empty("It has no such events."),
        element("a", "The next events", href=_link(request, sandbox, id, **more)) if page["has_more"] else None,
        python([f'for event in caged.sessions.replay_events("{id}"):', "    print(event.type, event.data)"]),
    ]


def _heading(request: PageRequest, sandbox: str, session: Mapping[str, Any]) -> Html:
    length = session["duration_ms"]
    facts = [
        session["model"],
        duration(length) if length is not None else None,
        f"{counted(session['tokens_in'], 'token')} in, {counted(session['tokens_out'], 'token')} out",
        money(session["total_cost"]),
        None if session["trust_score"] is None else f"trust {session['trust_score']}",
    ]
    return element(
        "div",
        element("a", "← All sessions", href=request.link("sandboxes", sandbox, "sessions")),
        element("h2", f"{session['agent_type'] or 'agent'} ", element("code", session["id"])),
        status(session["status"]),
        *[element("span", fact, class_="muted number") for fact in facts if fact],
        element("span", "started ", moment(session["started_at"]), class_="muted"),
        class_="session-top",
    )


def _event(event: Mapping[str, Any], start: float) -> Html:
    at = max(0.0, from_rfc3339(event["timestamp"]) - start)
    took = duration(event["duration_ms"]) if event["duration_ms"] else None
    return element(
        "li",
        element("span", f"{at:.2f} s", class_="muted number", title=event["timestamp"]),
        element("span", event["type"], class_="kind"),
        element("div", _data(event["data"]), class_="data"),
        element("span", took, class_="muted number"),
        data_at=f"{at:.3f}",
    )


def _data(data: Any) -> Html:
    """What an event says: the values of an object by their names."""
    if not isinstance(data, dict):
        return element("code", _value(data))
    parts = [element("div", element("dt", name), element("dd", element("code", _value(data[name])))) for name in data]
    return element("dl", *parts)


def _value(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return truncate(plain(text), _CHARACTERS)


def _number(text: str) -> Optional[int]:
    return int(text) if text.isdecimal() and text.isascii() and len(text) < 12 else None


TAB = Tab("sessions", "Sessions", render)
