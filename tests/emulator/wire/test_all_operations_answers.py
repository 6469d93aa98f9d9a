"""What the emulator answers, key by key, against the contract (`contract_answers.py`): nothing less, nothing more.

Every answer of every other test here is compared with it, too; these tests make sure that no operation and no optional
key is missed.
"""

from __future__ import annotations

import dataclasses
import os
import signal
import typing

import contract_answers
import httpx
import pytest
from cases import each
from contract_answers import ANSWERS, OBJECTS, UNDESCRIBED, fault, optional_keys
from emulator_testing import api_of, eventually, init_of
from sessions_testing import at_work

import caged
from caged.emulator.wire.all_operations import all_operations


@pytest.fixture(scope="module")
def emulator(process_emulator):
    """Nothing here depends on the isolation."""
    return process_emulator


SERVED = {found.name: found for found in all_operations() if found.status != 501 and not found.admin}

#: Optional keys that never have a value here, and that always have one, and why.
NEVER = {
    "Session.persona_id": "personas are not emulated",
    "Key.expires_at": "keys do not expire",
    "NotificationConfig.slack_bot_token_hint": "the token cannot be set by the API",
    "Subscription.trial_ends_at": "there are no trials",
}
ALWAYS = {
    "Sandbox.ip": "every sandbox has one",
    "Sandbox.timeout": "the default is answered",
    "Port.detected_at": "it is always known",
    "Session.agent_type": "an agent makes every session",
    "Session.trust_score": "every session has one",
}
#: Keys that need an emulator of their own to be seen both ways, and the test that does it.
APART = {
    "Sandbox.config": "test_repo.py",
    "Sandbox.repo_url": "test_repo.py",
    "Sandbox.stopped_at": "test_the_end_of_a_sandbox_is_left_out_while_it_runs",
    "Session.duration_ms": "test_keys_of_a_session_are_there_with_null_while_it_is_active",
    "Session.ended_at": "test_keys_of_a_session_are_there_with_null_while_it_is_active",
    "Session.model": "test_agent_sessions.py",
    "Subscription.current_period_end": "test_subscription_of_the_free_plan_has_no_period",
    "Usage.last_reported_at": "test_what_was_reported_of_usage_is_left_out_until_it_was",
}
#: Keys of objects that are tested elsewhere: test_sandbox_setup_repositories.py, test_alerts.py,
#: test_errors_and_routing.py, test_logins.py.
ELSEWHERE = ("Config.", "RuleConfig.", "Reason.", "Problem.", "DeviceProblem.", "Protected.")


def test_every_operation_of_the_emulator_is_in_the_table():
    assert set(ANSWERS) | set(UNDESCRIBED) == set(SERVED)
    assert not set(ANSWERS) & set(UNDESCRIBED)


@each("name", sorted(ANSWERS))
def test_an_empty_answer_is_a_204(name):
    assert (SERVED[name].status == 204) == (ANSWERS[name] is None)


class Seen:
    """Calls as one account, and what was seen in the answers."""

    def __init__(self, api) -> None:
        self.api = api
        self.operations: set[str] = set()
        self.keys: set[tuple[str, bool]] = set()

    def __call__(self, name, body=None, query=None, **ids):
        operation = SERVED[name]
        url = str(self.api.base_url.join(operation.path.format(**ids)))
        response = self.api.request(operation.method, url, json=body, params=query)
        assert response.status_code == operation.status, (name, response.text)
        contract_answers.check(name, response, self.keys)
        self.operations.add(name)
        return response.json() if response.content else None


@pytest.fixture(scope="module")
def seen(emulator):
    """The answers of every operation, with optional keys set and unset."""
    account = emulator.create_account()
    with api_of(emulator, account) as api:
        call = Seen(api)
        _sandboxes(call, api)
        _agents(call)
        _alerts(call, api, emulator)
        _account(call, emulator)
        call("sandboxes.destroy", id=call("sandboxes.list")[0]["id"])
        yield call
    emulator.remove_account(account.id)


def _sandboxes(call, api):
    fields = {"budget": 5, "init_script": "git init -q; echo x > f", "env": {"A": "b"}}
    box = call("sandboxes.create", {"template": "python", **fields})["id"]
    call("sandboxes.create", {"template": "minimal", "init_script": "exit 1"})  # never started
    call("sandboxes.list")
    call("sandboxes.get", id=box)
    call("sandboxes.logs", id=box)
    call("sandboxes.exec", {"command": "echo hello"}, id=box)
    call("files.list", id=box)
    call("files.write", {"content": "x"}, {"path": "new"}, id=box)
    call("files.git_diff", id=box)
    server = "import socket, time; s = socket.create_server(('127.0.0.1', 0)); time.sleep(60)"
    call("sandboxes.exec", {"command": f'nohup python3 -c "{server}" > /dev/null 2>&1 &'}, id=box)
    port = eventually(lambda: call("sandboxes.ports", id=box), "the port to be found")[0]["port"]
    call("sandboxes.protect_port", {"password": "p"}, id=box, port=port)
    snapshot = call("snapshots.create", {"name": "n"}, id=box)["id"]
    api.settled(snapshot)
    call("snapshots.get", id=snapshot)
    call("snapshots.list", id=box)
    call("snapshots.download", id=snapshot)
    call("snapshots.restore", {"target_sandbox_id": box}, id=snapshot)
    call("snapshots.delete", id=snapshot)
    call("sandboxes.pause", id=box)
    call("sandboxes.exec", {"command": "true"}, id=box)
    call("sandboxes.resume", id=box)
    call("socket_ticket")


def _agents(call):
    box = call("sandboxes.create", {"template": "minimal", "agents": ["claude"]})["id"]
    call("sandboxes.exec", {"command": "claude -p hi"}, id=box)
    session = call("sessions.list_by_sandbox", id=box)[0]["id"]
    call("events.ingest", {"events": [{"type": "desktop", "timestamp": "2026-01-31T12:00:00Z", "sandbox_id": box}]})
    for name in ("sessions.get", "sessions.replay", "sessions.replay_summary"):
        call(name, id=session)
    call("sandboxes.trust_scores", id=box)
    call("sessions.list")


def _alerts(call, api, emulator):
    box = call("sandboxes.create", {"template": "minimal", "budget": 1})["id"]
    emulator.spend(box, 0.85)
    found = eventually(lambda: call("alerts.list")["alerts"], "an alert")
    call("alerts.get", id=found[0]["id"])
    call("alerts.resolve", id=found[0]["id"])
    call("alerts.get", id=found[0]["id"])
    rules = call("alerts.list_rules")
    call("alerts.update_rule", {"enabled": True}, id=rules[0]["id"])
    notes = call("notifications.list")["notifications"]
    call("notifications.unread_count")
    call("notifications.mark_read", id=notes[0]["id"])
    call("notifications.mark_all_read")
    call("notifications.get_config")
    hooks = {"slack_webhook_url": "https://s.invalid/abcd", "discord_webhook_url": "https://d.invalid/wxyz"}
    call("notifications.update_config", hooks)


def _account(call, emulator):
    call("account.get")
    created = call("account.create_key", {"name": "second"})
    call("account.list_keys")
    call("account.revoke_key", id=created["info"]["id"])
    call("billing.get_subscription")
    call("billing.get_usage")
    page = call("billing.create_checkout", {"plan_id": "pro"})["url"]
    assert httpx.get(page, trust_env=False, verify=False, timeout=60).status_code == 200
    call("billing.get_subscription")
    call("billing.create_portal", {})
    call("billing.cancel")
    device = call("auth.device_code", {})["device_code"]
    call("auth.device_token", {"device_code": device})
    body = {"email": f"{call.api.account_id}@example.com", "password": "correct horse"}
    token = httpx.post(f"{emulator.base_url}/signup", json=body, trust_env=False, verify=False, timeout=60).json()[
        "token"
    ]
    owner, key = call.api, {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=owner.base_url, headers=key, trust_env=False, verify=False, timeout=60) as dashboard:
        call.api = dashboard
        login = call("account.list_sessions")[0]["id"]
        made = call("account.get")["id"]
        call("account.revoke_session", id=login)
        call.api = owner
    emulator.remove_account(made)


@each("name", sorted(ANSWERS))
def test_every_operation_answers_as_the_contract_says(seen, name):
    assert name in seen.operations


HERE = [key for key in sorted(optional_keys()) if not key.startswith(ELSEWHERE) and key not in APART]


@each("key", HERE)
def test_every_optional_key_is_seen_with_and_without_a_value(seen, key):
    wanted = {True} if key in ALWAYS else {False} if key in NEVER else {True, False}
    assert {there for name, there in seen.keys if name == key} == wanted


def test_keys_of_a_session_are_there_with_null_while_it_is_active(timed):
    api, _clock = timed
    call = Seen(api)
    box = api.sandbox(agents=["claude"])
    with at_work(api, box):
        call("sessions.list_by_sandbox", id=box)
    call("sessions.list_by_sandbox", id=box)
    for key in ("Session.duration_ms", "Session.ended_at"):
        assert {there for name, there in call.keys if name == key} == {True, False}


def test_what_was_reported_of_usage_is_left_out_until_it_was(timed):
    api, clock = timed
    call = Seen(api)
    call("billing.get_usage")
    api.sandbox(timeout=100_000)
    clock.advance(2 * 3600)
    call("billing.get_usage")
    assert {there for name, there in call.keys if name == "Usage.last_reported_at"} == {True, False}


def test_subscription_of_the_free_plan_has_no_period(own_emulator, new_api):
    for tier, there in (("free", False), ("pro", True)):
        call = Seen(new_api(own_emulator(tier=tier, isolation="process")))
        call("billing.get_subscription")
        assert ("Subscription.current_period_end", there) in call.keys


def test_the_end_of_a_sandbox_is_left_out_while_it_runs(own_emulator, new_api):
    api = new_api(own_emulator(isolation="process"))
    call = Seen(api)
    box = api.sandbox()
    call("sandboxes.get", id=box)
    os.kill(init_of(api.emulator, box), signal.SIGKILL)
    eventually(lambda: api.status(box) == "error", "the emulator to see it")
    call("sandboxes.get", id=box)
    assert {there for name, there in call.keys if name == "Sandbox.stopped_at"} == {True, False}


# --- the table finds wrong answers


GOOD = {"name": "a", "path": "/workspace/a", "type": "file", "size": 1, "mod_time": "2026-01-31T12:00:00.000Z"}


@each(
    ("value", "kind", "said"),
    [
        (GOOD, "File", None),
        ({**GOOD, "modified": "x"}, "File", "has modified, which File does not have (C 3.3)"),
        ({**GOOD, "type": "dir"}, "File", "$.type is 'dir'"),
        ({**GOOD, "size": None}, "File", "$.size is None"),
        ({**GOOD, "size": True}, "File", "$.size is True"),
        ({name: value for name, value in GOOD.items() if name != "size"}, "File", "no size"),
        ([GOOD, {}], "[File]", "$[1] has no name"),
        ({"output": "", "exit_code": 0}, "Exec", None),
        ({"output": "", "exit_code": 0, "error": None}, "Exec", "$.error is None"),
        ({"output": "", "exit_code": 0, "error": "x"}, "Exec", None),
        ({"port": 1, "protected": True}, "Protected", "no preview_url"),
        ({"port": 1, "protected": True, "preview_url": None}, "Protected", None),
        ({"unread_count": 1, "count": 1}, "Unread", "has count"),
        (None, "[File]", "not an array"),
    ],
)
def test_answer_that_differs_from_the_expected_kind_is_reported(value, kind, said):
    found = fault(value, kind)
    assert (found is None) if said is None else (said in found)


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("/snapshots/{snapshot}", "account_id"),
        ("/snapshots/{snapshot}/download", "expires_at"),
        ("/notifications/unread-count", "count"),
        ("/billing/subscription", "plan"),
        ("/sandboxes/missing", "error"),
        ("/sandboxes/missing", "instance"),
        ("/alerts/{alert}", "type"),
        ("/alerts/{alert}", "resolved"),
    ],
)
def test_a_key_of_older_documentation_is_not_answered(api, path, key):
    box = api.sandbox(budget=1)
    api.emulator.spend(box, 0.85)
    alert = eventually(lambda: api.get("/alerts").json()["alerts"], "an alert")[0]["id"]
    answer = api.get(path.format(snapshot=api.snapshot(box), alert=alert))
    assert key not in answer.json()


# --- the SDK has the same keys


MODELS = {
    "Sandbox": caged.Sandbox,
    "Config": caged.SandboxConfigSummary,
    "Log": caged.LogEntry,
    "Trust": caged.TrustScoreSummary,
    "Port": caged.Port,
    "Exec": caged.ExecResult,
    "File": caged.FileEntry,
    "Changed": caged.GitFileStatus,
    "Diff": caged.GitDiff,
    "Snapshot": caged.Snapshot,
    "Download": caged.SnapshotDownload,
    "Account": caged.Account,
    "Key": caged.APIKey,
    "CreatedKey": caged.CreatedAPIKey,
    "Login": caged.AccountSession,
    "Session": caged.AgentSession,
    "Pagination": caged.Pagination,
    "Sessions": caged.AgentSessionPage,
    "Replayed": caged.ReplayEvent,
    "Replay": caged.ReplayPage,
    "Summary": caged.ReplaySummary,
    "Ingested": caged.IngestResponse,
    "Alert": caged.Alert,
    "Alerts": caged.AlertPage,
    "Rule": caged.AlertRule,
    "RuleConfig": caged.RuleConfig,
    "Notification": caged.Notification,
    "Notifications": caged.NotificationPage,
    "NotificationConfig": caged.NotificationConfig,
    "Subscription": caged.Subscription,
    "Usage": caged.Usage,
    "Ticket": caged.SocketTicket,
    "Reason": caged.ErrorReason,
}


@each("name", sorted(MODELS))
def test_the_model_of_the_sdk_has_the_keys_of_the_contract(name):
    assert {field.name for field in dataclasses.fields(MODELS[name])} == set(OBJECTS[name][1])


@each("name", sorted(MODELS))
def test_a_key_with_null_is_optional_in_the_sdk_or_has_a_default(name):
    hints = typing.get_type_hints(MODELS[name])
    for key, kind in OBJECTS[name][1].items():
        if kind.endswith(" null"):
            assert type(None) in typing.get_args(hints[key]), key
