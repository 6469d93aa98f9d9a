"""Steps of what is neither a request nor a command, queries, and the removal of steps."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from cases import each
from emulator_testing import Api, eventually
from internals import platform_of
from steps_testing import check, host_file, only, output, steps_of


def test_lifecycle_ports_snapshots_and_restores(api: Api, box: str):
    api.post(f"/sandboxes/{box}/pause")
    api.post(f"/sandboxes/{box}/resume")
    snapshot = api.snapshot(box, name="first")
    api.restore(snapshot, box)
    api.delete(f"/sandboxes/{box}")
    steps = steps_of(api, box)
    actions = [step.detail["data"]["action"] for step in steps if step.kind == "sandbox"]
    assert [one for one in actions if one in ("create", "pause", "resume", "restore", "destroy")] == [
        "create",
        "pause",
        "resume",
        "restore",
        "destroy",
    ]
    assert any("snapshot" in step.title for step in steps if step.kind == "sandbox")
    by_id = {step.id: step for step in steps}
    paused = only(steps, "sandbox", "paused")
    assert by_id[paused.parent].title.endswith("/pause")


def test_steps_of_a_destroyed_sandbox_stay(api: Api, box: str):
    api.output(box, "echo kept")
    api.delete(f"/sandboxes/{box}")
    assert output(only(steps_of(api, box), "command")) == "kept\n"


def test_budget_that_is_used_up_is_a_step(api: Api, controls: Any):
    box = api.sandbox(budget=1)
    controls.spend(box, 2)
    eventually(
        lambda: (
            (found := steps_of(api, box)) and any(s.kind == "sandbox" and "budget" in s.title for s in found) and found
        ),
        "the pause",
    )
    alerts = [step for step in steps_of(api) if step.kind == "alert"]
    first, *_rest, last = alerts
    assert (first.status, last.status) == ("ok", "error")  # a warning, and a critical one
    assert last.title == "critical: Budget Threshold Exceeded: $2.00 of $1.00 (alert at 100%)"
    assert only(steps_of(api), "control", "spend").sandbox in ("", box)


def test_clock_moves_and_controls_are_steps(api: Api, controls: Any):
    controls.clock.advance(minutes=5)
    fault = controls.faults.add("account.get", status=500, optional=True)
    fault.remove()
    controls.clock.tick()
    controls.clock.tick(90)
    steps = [step for step in steps_of(api) if step.kind == "control"]
    ticks = ["clock tick by 1 second", "clock tick by 90 seconds"]
    assert [step.title for step in steps] == [
        "clock advance by 5 minutes",
        "faults add",
        f"faults remove {fault.id}",
        *ticks,
    ]
    assert steps[0].detail["body"]["minutes"] == 5
    assert steps[1].controls == [fault.id]
    assert {step.status for step in steps} == {"ok"}


def test_step_shows_the_time_of_the_account_and_real_time(api: Api, controls: Any):
    controls.clock.freeze("2031-05-06T07:08:09Z")
    api.get("/account")
    step = only(steps_of(api), "request")
    assert step.at.startswith("2031-05-06T07:08:09")
    assert not step.wall.startswith("2031")


def test_refused_control_is_a_step_with_an_error(api: Api, controls: Any):
    with pytest.raises(ValueError, match="operation"):
        controls.faults.add("account.gett", status=500)
    assert only(steps_of(api), "control").status == "error"


def test_request_without_authentication_belongs_to_no_account(api: Api):
    path = f"/v1/account?mark={time.time_ns()}"
    answer = httpx.get(
        f"{api.emulator.base_url}{path}", headers={"Authorization": "Bearer caged_sk_nope"}, verify=False
    )
    assert answer.status_code == 401
    assert steps_of(api) == []
    every = [check(step) for step in api.emulator.journal.steps(account="*", kind="request")]
    found = [step for step in every if step.detail.get("query", "") in path and step.detail.get("query")]
    assert [(step.account, step.status, step.detail["status"]) for step in found] == [("", "error", 401)]


def test_no_step_of_another_account_is_shown(new_api: Callable[[], Api]):
    one, other = new_api(), new_api()
    box = one.sandbox()
    one.output(box, "echo mine")
    assert steps_of(other) == []
    assert list(one.emulator.journal.follow(wait=0, account=other.account_id)) == []
    assert {step.account for step in steps_of(one)} == {one.account_id}
    other.get(f"/sandboxes/{box}")
    assert [step.account for step in steps_of(other)] == [other.account_id]
    with pytest.raises(ValueError, match="has never existed"):
        list(one.emulator.journal.follow("cage_nope", wait=0, account=other.account_id))


def test_query_selects_by_kind_status_sandbox_and_number(api: Api, box: str):
    api.run(box, "false")
    api.run(box, "true")
    assert [step.title for step in steps_of(api, kind="command", status="error")] == ["$ false"]
    assert [step.title for step in steps_of(api, kind="command", last=1)] == ["$ true"]
    assert {step.sandbox for step in steps_of(api, box)} == {box}
    newest = max(step.revision for step in steps_of(api))
    assert steps_of(api, after=newest) == []
    api.get("/account")
    assert [step.title for step in steps_of(api, after=newest)] == ["GET /v1/account"]


@each("query", [{"kind": "comand"}, {"status": "failed"}, {"after": -1}, {"last": 0}])
def test_impossible_query_is_refused(api: Api, query: dict[str, Any]):
    with pytest.raises(ValueError, match=next(iter(query))):
        api.emulator.journal.steps(**query)


def test_clear_removes_the_steps_of_one_account(new_api: Callable[[], Api]):
    one, other = new_api(), new_api()
    one.get("/account")
    other.get("/account")
    one.emulator.journal.clear(account=one.account_id)
    assert steps_of(one) == []
    assert len(steps_of(other)) == 1


def test_revisions_go_on_after_a_clear(api: Api):
    api.get("/account")
    before = steps_of(api)[-1].revision
    api.emulator.journal.clear(account=api.account_id)
    api.get("/account")
    assert steps_of(api)[0].revision > before


def test_step_that_runs_during_a_clear_does_not_come_back(api: Api, box: str):
    client = Api(api.emulator, api.key, api.account_id)
    thread = threading.Thread(target=client.run, args=(box, "until [ -e go ]; do sleep 0.01; done"))
    thread.start()
    eventually(lambda: [s for s in steps_of(api) if s.kind == "command"], "the command")
    api.emulator.journal.clear(account=api.account_id)
    host_file(api, box, "go").touch()
    thread.join(60)
    client.close()
    assert steps_of(api) == []


def test_reset_removes_the_steps(api: Api, box: str):
    api.emulator.reset(account=api.account_id)
    assert steps_of(api) == []


def test_steps_of_a_deleted_account_are_gone(new_api: Callable[[], Api]):
    api = new_api()
    box = api.sandbox()
    client = Api(api.emulator, api.key, api.account_id)
    thread = threading.Thread(
        target=client.post, args=(f"/sandboxes/{box}/exec",), kwargs={"json": {"command": "sleep 60"}}
    )
    thread.start()
    eventually(lambda: [s for s in steps_of(api) if s.kind == "command"], "the command")
    api.emulator.remove_account(api.account_id)
    thread.join(60)
    client.close()
    every = api.emulator.journal.steps(account="*")
    assert [step.title for step in every if step.account == api.account_id] == []
    assert api.account_id not in platform_of(api.emulator).steps._logs
