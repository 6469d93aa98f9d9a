"""Agent sessions and their replay. What a session looks like is told from the newest one of the account; with an agent
(`--agent`) one is begun when there is none."""

from __future__ import annotations

from typing import Any

from ..check import Group, Unchecked
from ..context import Context
from ..expect import an_array, an_object, one_of, same, true
from ..shapes import REPLAY, SESSION, SESSIONS, SUMMARY
from ..wire import segment

group = Group("sessions")

_PROMPTS = {"claude-code": "claude -p", "claude": "claude -p", "codex": "codex exec", "aider": "aider --message"}


def _page(bench: Context, **query: Any) -> dict[str, Any]:
    return an_object(bench.get("/sessions", params={"page": 1, **query}), SESSIONS)


def _session(bench: Context) -> dict[str, Any]:
    """The newest, with some events."""

    def find() -> dict[str, Any]:
        if bench.agent:
            command = _PROMPTS.get(bench.agent, f"{bench.agent} -p")
            bench.needed(bench.exec(f"{command} 'say hello'", bench.python_box), "asking the agent")
        found = bench.needed(bench.get("/sessions", params={"page": 1, "per_page": 1}), "the list of sessions")
        sessions = found.get("data") if isinstance(found, dict) else None
        if not sessions:
            raise Unchecked("the account has no agent session; --agent claude-code begins one, and may cost tokens")
        return dict(sessions[0])

    return bench.shared("an agent session", find)


def newest_path(bench: Context) -> str:
    return f"/sessions/{segment(str(_session(bench).get('id')))}"


@group.contract("list", "The list is a page: data and pagination.", "wire-contract 3.6")
def listed(bench: Context) -> None:
    _page(bench)


@group.contract("list-page", "The pagination says the page asked for.", "wire-contract 3.6")
def list_page(bench: Context) -> None:
    same("page", _page(bench, page=2)["pagination"]["page"], 2)


@group.contract("list-per-page", "per_page is how many come at most.", "wire-contract 3.6")
def list_per_page(bench: Context) -> None:
    found = _page(bench, per_page=1)
    same("per_page", found["pagination"]["per_page"], 1)
    true(len(found["data"] or ()) <= 1, "one session at most", len(found["data"] or ()))


@group.contract("total-pages", "total_pages is total by per_page, rounded up.", "wire-contract 3.6")
def total_pages(bench: Context) -> None:
    found = _page(bench, per_page=2)["pagination"]
    same("total_pages", found["total_pages"], -(-found["total"] // max(1, found["per_page"])))


@group.contract("of-sandbox", "The sessions of a sandbox are a bare array.", "wire-contract 3.6")
def of_sandbox(bench: Context) -> None:
    an_array(bench.get(f"/sandboxes/{bench.box}/sessions"), SESSION)


@group.contract("get", "A session can be looked at by its id.", "wire-contract 3.6")
def get(bench: Context) -> None:
    same("id", an_object(bench.get(newest_path(bench)), SESSION)["id"], _session(bench)["id"])


@group.contract("costs", "llm_cost + compute_cost = total_cost = cost_usd.", "wire-contract 3.6")
def costs(bench: Context) -> None:
    found = an_object(bench.get(newest_path(bench)), SESSION)
    wanted = found["llm_cost"] + found["compute_cost"]
    got = (found["total_cost"], found["cost_usd"])
    true(all(abs(cost - wanted) < 1e-6 for cost in got), f"{wanted} twice", got)


@group.contract("replay", "A replay is events, has_more, next_seq and total.", "wire-contract 3.6")
def replay(bench: Context) -> None:
    an_object(bench.get(f"{newest_path(bench)}/replay"), REPLAY)


@group.contract("replay-limit", "`limit` is how many events come at most.", "wire-contract 3.6")
def replay_limit(bench: Context) -> None:
    found = an_object(bench.get(f"{newest_path(bench)}/replay", params={"limit": 1}), REPLAY)
    true(len(found["events"]) <= 1, "one event at most", len(found["events"]))
    same("has_more", found["has_more"], found["total"] > 1)


@group.contract("replay-after", "after_seq = next_seq goes on behind what has come.", "wire-contract 3.6")
def replay_after(bench: Context) -> None:
    path = f"{newest_path(bench)}/replay"
    first = an_object(bench.get(path, params={"limit": 1}), REPLAY)
    if not first["has_more"]:
        raise Unchecked("the newest session has one event or none")
    second = an_object(bench.get(path, params={"limit": 1, "after_seq": first["next_seq"]}), REPLAY)
    got = [event["sequence"] for event in first["events"] + second["events"]]
    true(len(got) == 2 and got[0] < got[1], "two events, one after the other", got)


@group.contract("replay-type", "`type` is which events are wanted.", "wire-contract 3.6")
def replay_type(bench: Context) -> None:
    path = f"{newest_path(bench)}/replay"
    events = an_object(bench.get(path), REPLAY)["events"]
    if not events:
        raise Unchecked("the newest session has no event")
    kind = events[-1]["type"]
    found = an_object(bench.get(path, params={"type": kind}), REPLAY)["events"]
    same("types", sorted({event["type"] for event in found}), [kind])


@group.contract("replay-types", "The types of events are the known ones, or `other`.", "wire-contract 3.7")
def replay_types(bench: Context) -> None:
    known = ("llm_call", "tool_call", "file_op", "command", "network", "error", "lifecycle", "desktop", "other")
    for event in an_object(bench.get(f"{newest_path(bench)}/replay"), REPLAY)["events"]:
        one_of("type", event["type"], known)


@group.contract("summary", "The summary counts the events by type.", "wire-contract 3.6")
def summary(bench: Context) -> None:
    found = an_object(bench.get(f"{newest_path(bench)}/replay/summary"), SUMMARY)
    same("event_count", found["event_count"], sum(found["types"].values()))
