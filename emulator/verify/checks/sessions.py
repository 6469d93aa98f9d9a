"""Agent sessions and their replay.

The newest session of the account is examined; with an agent (`--agent`) a new one is begun first.
"""

from __future__ import annotations

from typing import Any

from ..assertions import assert_equal, assert_one_of, assert_true, read_array, read_object
from ..check import Group
from ..context import Context
from ..errors import SkipCheck
from ..raw_client import path_segment
from ..shapes import REPLAY, SESSION, SESSIONS, SUMMARY

group = Group("sessions")

_PROMPTS = {"claude-code": "claude -p", "claude": "claude -p", "codex": "codex exec", "aider": "aider --message"}


def _page(context: Context, **query: Any) -> dict[str, Any]:
    return read_object(context.get("/sessions", params={"page": 1, **query}), SESSIONS)


def _session(context: Context) -> dict[str, Any]:
    """Return the newest session, or skip the check."""

    def find() -> dict[str, Any]:
        if context.agent:
            command = _PROMPTS.get(context.agent, f"{context.agent} -p")
            context.require_json(
                context.exec(f"{command} 'say hello'", context.second_sandbox_id), "prompting the agent"
            )
        found = context.require_json(
            context.get("/sessions", params={"page": 1, "per_page": 1}), "the list of sessions"
        )
        sessions = found.get("data") if isinstance(found, dict) else None
        if not sessions:
            raise SkipCheck("the account has no agent session; --agent claude-code begins one, and may cost tokens")
        return dict(sessions[0])

    return context.shared("an agent session", find)


def newest_path(context: Context) -> str:
    return f"/sessions/{path_segment(str(_session(context).get('id')))}"


@group.contract("list", "The list is a page with data and pagination.", "wire-contract 3.6")
def list_sessions(context: Context) -> None:
    _page(context)


@group.contract("list-page", "The pagination has the requested page.", "wire-contract 3.6")
def list_page(context: Context) -> None:
    assert_equal("page", _page(context, page=2)["pagination"]["page"], 2)


@group.contract("list-per-page", "per_page is the largest number of sessions on a page.", "wire-contract 3.6")
def list_per_page(context: Context) -> None:
    found = _page(context, per_page=1)
    assert_equal("per_page", found["pagination"]["per_page"], 1)
    assert_true(len(found["data"] or ()) <= 1, "one session at most", len(found["data"] or ()))


@group.contract("total-pages", "total_pages is total divided by per_page, rounded up.", "wire-contract 3.6")
def total_pages(context: Context) -> None:
    found = _page(context, per_page=2)["pagination"]
    assert_equal("total_pages", found["total_pages"], -(-found["total"] // max(1, found["per_page"])))


@group.contract("of-sandbox", "The sessions of a sandbox are a bare array.", "wire-contract 3.6")
def of_sandbox(context: Context) -> None:
    read_array(context.get(f"/sandboxes/{context.sandbox_id}/sessions"), SESSION)


@group.contract("get", "A session can be retrieved by its id.", "wire-contract 3.6")
def get(context: Context) -> None:
    assert_equal("id", read_object(context.get(newest_path(context)), SESSION)["id"], _session(context)["id"])


@group.contract("costs", "llm_cost + compute_cost = total_cost = cost_usd.", "wire-contract 3.6")
def costs(context: Context) -> None:
    found = read_object(context.get(newest_path(context)), SESSION)
    wanted = found["llm_cost"] + found["compute_cost"]
    got = (found["total_cost"], found["cost_usd"])
    assert_true(all(abs(cost - wanted) < 1e-6 for cost in got), f"{wanted} twice", got)


@group.contract("replay", "A replay has events, has_more, next_seq and total.", "wire-contract 3.6")
def replay(context: Context) -> None:
    read_object(context.get(f"{newest_path(context)}/replay"), REPLAY)


@group.contract("replay-limit", "`limit` is the largest number of events in a replay.", "wire-contract 3.6")
def replay_limit(context: Context) -> None:
    found = read_object(context.get(f"{newest_path(context)}/replay", params={"limit": 1}), REPLAY)
    assert_true(len(found["events"]) <= 1, "one event at most", len(found["events"]))
    assert_equal("has_more", found["has_more"], found["total"] > 1)


@group.contract("replay-after", "after_seq = next_seq returns the following events.", "wire-contract 3.6")
def replay_after(context: Context) -> None:
    path = f"{newest_path(context)}/replay"
    first = read_object(context.get(path, params={"limit": 1}), REPLAY)
    if not first["has_more"]:
        raise SkipCheck("the newest session has one event or none")
    second = read_object(context.get(path, params={"limit": 1, "after_seq": first["next_seq"]}), REPLAY)
    got = [event["sequence"] for event in first["events"] + second["events"]]
    assert_true(len(got) == 2 and got[0] < got[1], "two events, one after the other", got)


@group.contract("replay-type", "`type` selects events of one type.", "wire-contract 3.6")
def replay_type(context: Context) -> None:
    path = f"{newest_path(context)}/replay"
    events = read_object(context.get(path), REPLAY)["events"]
    if not events:
        raise SkipCheck("the newest session has no event")
    kind = events[-1]["type"]
    found = read_object(context.get(path, params={"type": kind}), REPLAY)["events"]
    assert_equal("types", sorted({event["type"] for event in found}), [kind])


@group.contract("replay-types", "The type of an event is one of the known types or `other`.", "wire-contract 3.7")
def replay_types(context: Context) -> None:
    known = ("llm_call", "tool_call", "file_op", "command", "network", "error", "lifecycle", "desktop", "other")
    for event in read_object(context.get(f"{newest_path(context)}/replay"), REPLAY)["events"]:
        assert_one_of("type", event["type"], known)


@group.contract("summary", "The summary counts the events by type.", "wire-contract 3.6")
def summary(context: Context) -> None:
    found = read_object(context.get(f"{newest_path(context)}/replay/summary"), SUMMARY)
    assert_equal("event_count", found["event_count"], sum(found["types"].values()))
