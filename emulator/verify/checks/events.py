"""Events that a client tells."""

from __future__ import annotations

from typing import Any, Optional

from ..check import Group
from ..context import Context
from ..expect import an_object, refused, same, says
from ..shapes import INGESTED, SANDBOX
from ..wire import segment

group = Group("events")

#: USD that a model's call is reported to have cost; it stands in the account's records.
_COST = 0.0001


def _event(bench: Context, **fields: Any) -> dict[str, Any]:
    return {
        "type": "tool_call",
        "timestamp": "2026-01-31T12:00:00.000000Z",
        "sandbox_id": bench.box,
        "meta": {"from": bench.label},
        "payload": {"tool": "caged-verify"},
        **fields,
    }


def _ingest(bench: Context, *events: dict[str, Any]) -> dict[str, Any]:
    return an_object(bench.post("/events/ingest", json={"events": list(events)}), INGESTED)


@group.contract("ingest", "Events are counted: accepted and errors.", "wire-contract 3.7")
def ingest(bench: Context) -> None:
    same("it", _ingest(bench, _event(bench), _event(bench, type="command")), {"accepted": 2, "errors": 0})


@group.contract("ingest-none", "A batch of no events is taken.", "wire-contract 3.7")
def ingest_none(bench: Context) -> None:
    same("it", _ingest(bench), {"accepted": 0, "errors": 0})


@group.contract("unknown-type", "An event of an unknown type is taken.", "wire-contract 3.7")
def unknown_type(bench: Context) -> None:
    same("accepted", _ingest(bench, _event(bench, type="caged-verify"))["accepted"], 1)


@group.contract("all-fields", "An event with every field is taken.", "wire-contract 3.7")
def all_fields(bench: Context) -> None:
    event = _event(bench, id=bench.name(), process_id="1", duration_ns=0)
    same("accepted", _ingest(bench, event)["accepted"], 1)


@group.contract("chosen-session", "An event with a session id of the client's choice is taken.", "wire-contract 3.7")
def chosen_session(bench: Context) -> None:
    same("it", _ingest(bench, _event(bench, session_id=bench.name())), {"accepted": 1, "errors": 0})


@group.decision("sandbox-cost", "An llm_call that names its sandbox adds to its llm_cost.", "Part A, Budget")
def sandbox_cost(bench: Context) -> None:
    path = f"/sandboxes/{segment(bench.box)}"
    before = an_object(bench.get(path), SANDBOX)["llm_cost"]
    _ingest(bench, _event(bench, type="llm_call", payload={"cost_usd": _COST}))

    def costs_more() -> Optional[bool]:
        return True if abs(an_object(bench.get(path), SANDBOX)["llm_cost"] - before - _COST) < 1e-6 else None

    bench.eventually(costs_more, f"llm_cost {before + _COST}", min(5.0, bench.patience.limit))


@group.contract("no-timestamp", "An event without timestamp is a 400.", "wire-contract 3.7")
def no_timestamp(bench: Context) -> None:
    event = _event(bench)
    del event["timestamp"]
    answer = bench.post("/events/ingest", json={"events": [event]})
    refused(answer, 400)
    says(answer, "timestamp")


@group.contract("too-many", "More than 1000 events are refused.", "wire-contract 3.7")
def too_many(bench: Context) -> None:
    refused(bench.post("/events/ingest", json={"events": [_event(bench)] * 1001}), 400, 413, 422)


@group.decision("too-many-400", "More than 1000 events are a 400.", "Part A, Errors")
def too_many_400(bench: Context) -> None:
    refused(bench.post("/events/ingest", json={"events": [_event(bench)] * 1001}), 400)
