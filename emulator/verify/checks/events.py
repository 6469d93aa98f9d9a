"""Ingestion of events from a client."""

from __future__ import annotations

from typing import Any, Optional

from ..assertions import assert_detail_contains, assert_equal, assert_error, read_object
from ..check import Group
from ..context import Context
from ..raw_client import path_segment
from ..shapes import INGESTED, SANDBOX

group = Group("events")

#: USD, the cost of a reported model call. It stays in the account's records.
_COST = 0.0001


def _event(context: Context, **fields: Any) -> dict[str, Any]:
    return {
        "type": "tool_call",
        "timestamp": "2026-01-31T12:00:00.000000Z",
        "sandbox_id": context.sandbox_id,
        "meta": {"from": context.label},
        "payload": {"tool": "caged-verify"},
        **fields,
    }


def _ingest(context: Context, *events: dict[str, Any]) -> dict[str, Any]:
    return read_object(context.post("/events/ingest", json={"events": list(events)}), INGESTED)


@group.contract("ingest", "Ingesting returns the numbers of accepted events and errors.", "wire-contract 3.7")
def ingest(context: Context) -> None:
    assert_equal("it", _ingest(context, _event(context), _event(context, type="command")), {"accepted": 2, "errors": 0})


@group.contract("ingest-none", "An empty batch of events is accepted.", "wire-contract 3.7")
def ingest_none(context: Context) -> None:
    assert_equal("it", _ingest(context), {"accepted": 0, "errors": 0})


@group.contract("unknown-type", "An event of an unknown type is accepted.", "wire-contract 3.7")
def unknown_type(context: Context) -> None:
    assert_equal("accepted", _ingest(context, _event(context, type="caged-verify"))["accepted"], 1)


@group.contract("all-fields", "An event with every field is accepted.", "wire-contract 3.7")
def all_fields(context: Context) -> None:
    event = _event(context, id=context.unique_name(), process_id="1", duration_ns=0)
    assert_equal("accepted", _ingest(context, event)["accepted"], 1)


@group.contract("chosen-session", "An event with a session id chosen by the client is accepted.", "wire-contract 3.7")
def chosen_session(context: Context) -> None:
    assert_equal(
        "it", _ingest(context, _event(context, session_id=context.unique_name())), {"accepted": 1, "errors": 0}
    )


@group.decision(
    "sandbox-cost", "An llm_call event with a sandbox id adds to that sandbox's llm_cost.", "Part A, Budget"
)
def sandbox_cost(context: Context) -> None:
    path = f"/sandboxes/{path_segment(context.sandbox_id)}"
    before = read_object(context.get(path), SANDBOX)["llm_cost"]
    _ingest(context, _event(context, type="llm_call", payload={"cost_usd": _COST}))

    def costs_more() -> Optional[bool]:
        return True if abs(read_object(context.get(path), SANDBOX)["llm_cost"] - before - _COST) < 1e-6 else None

    context.wait_until(costs_more, f"llm_cost {before + _COST}", min(5.0, context.time_budget.limit))


@group.contract("no-timestamp", "An event without a timestamp returns 400.", "wire-contract 3.7")
def no_timestamp(context: Context) -> None:
    event = _event(context)
    del event["timestamp"]
    answer = context.post("/events/ingest", json={"events": [event]})
    assert_error(answer, 400)
    assert_detail_contains(answer, "timestamp")


@group.contract("too-many", "More than 1000 events are rejected.", "wire-contract 3.7")
def too_many(context: Context) -> None:
    assert_error(context.post("/events/ingest", json={"events": [_event(context)] * 1001}), 400, 413, 422)


@group.decision("too-many-400", "More than 1000 events return 400.", "Part A, Errors")
def too_many_400(context: Context) -> None:
    assert_error(context.post("/events/ingest", json={"events": [_event(context)] * 1001}), 400)
