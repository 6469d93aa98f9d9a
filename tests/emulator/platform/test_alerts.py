"""Alerts as the API lists them, and their rules."""

import re
from datetime import datetime, timezone

import pytest
from alerts_testing import (
    TYPES,
    alerts,
    on_loop,
    platform,
    rule,
    set_rule,
)
from emulator_testing import assert_problem


@pytest.fixture(scope="module")
def emulator(process_emulator):
    """Nothing here depends on the isolation."""
    return process_emulator


# --- the list


@pytest.fixture
def reported(timed):
    """A client with 60 alerts, and their messages' numbers, oldest first."""
    api, _clock = timed
    fire = platform(api).alerts.fire
    for number in range(60):
        on_loop(api, lambda number=number: fire(api.account_id, "idle_timeout", "info", "t", str(number)))
    return api


@pytest.mark.parametrize(
    ("query", "limit", "offset", "first", "count"),
    [
        ({}, 50, 0, 59, 50),
        ({"limit": 1}, 1, 0, 59, 1),
        ({"limit": 100}, 100, 0, 59, 60),
        ({"limit": 101}, 50, 0, 59, 50),
        ({"limit": 0}, 50, 0, 59, 50),
        ({"limit": -1}, 50, 0, 59, 50),
        ({"offset": 50}, 50, 50, 9, 10),
        ({"limit": 7, "offset": 3}, 7, 3, 56, 7),
        ({"offset": 60}, 50, 60, None, 0),
        ({"offset": -5}, 50, 0, 59, 50),
    ],
)
def test_the_list_is_newest_first_by_page(reported, query, limit, offset, first, count):
    page = reported.get("/alerts", params=query).json()
    assert (page["total"], page["limit"], page["offset"]) == (60, limit, offset)
    messages = [int(alert["message"]) for alert in page["alerts"]]
    assert messages == ([] if first is None else list(range(first, first - count, -1)))


def test_only_the_newest_are_kept(timed, monkeypatch):
    from caged.emulator.platform import alerts as kept
    from caged.emulator.platform import notifications

    api, _clock = timed
    monkeypatch.setattr(kept, "MOST", 5)
    monkeypatch.setattr(notifications, "MOST", 3)
    fire = platform(api).alerts.fire
    for number in range(8):
        on_loop(api, lambda number=number: fire(api.account_id, "idle_timeout", "info", "t", str(number)))
    assert [alert["message"] for alert in alerts(api)] == ["7", "6", "5", "4", "3"]
    assert [found["message"] for found in api.get("/notifications").json()["notifications"]] == ["7", "6", "5"]


@pytest.mark.parametrize("query", [{"limit": "x"}, {"offset": "1.5"}, {"limit": ""}])
def test_a_page_that_is_not_a_number_is_refused(api, query):
    assert_problem(api.get("/alerts", params=query), 400, next(iter(query)))


def test_an_alert_has_all_its_fields(timed):
    api, clock = timed
    api.sandbox(timeout=60)
    clock.advance(61)
    (alert,) = alerts(api)
    assert re.fullmatch(r"alert_[a-z0-9]{8}", alert["id"])
    assert (alert["state"], alert["rule_type"], alert["title"]) == ("open", "idle_timeout", "Idle Timeout")
    created = datetime.fromisoformat(alert["created_at"].replace("Z", "+00:00"))
    assert (created - datetime.now(timezone.utc)).total_seconds() == pytest.approx(61, abs=5)
    assert api.get(f"/alerts/{alert['id']}").json() == alert


def test_resolving_is_kept_with_its_time_and_may_be_repeated(timed):
    api, clock = timed
    api.sandbox(timeout=60)
    clock.advance(61)
    (alert,) = alerts(api)
    answer = api.post(f"/alerts/{alert['id']}/resolve")
    assert (answer.status_code, answer.content) == (204, b"")
    resolved = api.get(f"/alerts/{alert['id']}").json()
    assert resolved["state"] == "resolved"
    assert resolved["resolved_at"] >= resolved["created_at"]
    clock.offset += 60
    assert api.post(f"/alerts/{alert['id']}/resolve").status_code == 204
    assert api.get(f"/alerts/{alert['id']}").json() == resolved
    assert alerts(api) == [resolved]


def test_the_alert_of_a_destroyed_sandbox_stays(timed):
    api, clock = timed
    box = api.sandbox(timeout=60)
    clock.advance(61)
    api.delete(f"/sandboxes/{box}")
    assert [alert["sandbox_id"] for alert in alerts(api)] == [box]


def test_another_accounts_alerts_are_not_found(timed, new_api):
    api, clock = timed
    other = new_api(api.emulator)
    api.sandbox(timeout=60)
    clock.advance(61)
    (alert,) = alerts(api)
    assert alerts(other) == []
    assert_problem(other.get(f"/alerts/{alert['id']}"), 404, "alert not found")
    assert_problem(other.post(f"/alerts/{alert['id']}/resolve"), 404, "alert not found")
    assert api.get(f"/alerts/{alert['id']}").json()["state"] == "open"


def test_a_deleted_accounts_alerts_are_gone(timed):
    api, clock = timed
    api.sandbox(timeout=60)
    clock.advance(61)
    assert alerts(api)
    store = platform(api).store
    api.emulator.remove_account(api.account_id)
    assert (store.alerts, store.notifications) == ({}, {})


# --- the rules


def test_every_account_begins_with_one_enabled_rule_of_each_type(api, other):
    rules = api.get("/alerts/rules").json()
    assert [found["type"] for found in rules] == TYPES
    assert all(found["enabled"] and found["account_id"] == api.account_id for found in rules)
    assert all(set(found) == {"id", "account_id", "type", "enabled", "config", "created_at"} for found in rules)
    assert {found["id"] for found in rules}.isdisjoint(found["id"] for found in other.get("/alerts/rules").json())
    assert api.get("/alerts/rules").json() == rules


def test_a_change_merges_and_zero_is_the_default(api):
    before = rule(api, "error_spike")["config"]
    assert before == {"error_count_threshold": 10, "window_minutes": 5}
    assert set_rule(api, "error_spike", config={"window_minutes": 60})["config"] == {**before, "window_minutes": 60}
    assert set_rule(api, "error_spike", config={"error_count_threshold": 3})["config"] == {
        "error_count_threshold": 3,
        "window_minutes": 60,
    }
    assert set_rule(api, "error_spike", config={"window_minutes": 0})["config"]["window_minutes"] == 5
    changed = set_rule(api, "error_spike", enabled=False)
    assert (changed["enabled"], changed["config"]["error_count_threshold"]) == (False, 3)
    assert rule(api, "error_spike") == changed


@pytest.mark.parametrize("body", [{}, {"config": {}}, {"enabled": None, "config": None}])
def test_a_change_of_nothing_changes_nothing(api, body):
    before = rule(api, "agent_stuck")
    assert set_rule(api, "agent_stuck", **body) == before


def warnings_of_change(api):
    (entry,) = api.emulator.journal.requests(operation="alerts.update_rule", account=api.account_id)
    return entry.warnings


def test_other_keys_are_ignored_with_a_warning(api):
    set_rule(api, "agent_stuck", threshold=0.8, config={"cooldown_minutes": 1})
    threshold, cooldown = warnings_of_change(api)
    assert "'threshold'" in threshold
    assert "config.cooldown_minutes" in cooldown


def test_a_number_of_another_rule_is_kept_with_a_warning(api):
    changed = set_rule(api, "error_spike", config={"window_minutes": 7, "idle_minutes": 3})
    assert changed["config"] == {"error_count_threshold": 10, "window_minutes": 7, "idle_minutes": 3}
    (warning,) = warnings_of_change(api)
    assert warning == (
        "config.idle_minutes has no effect on a rule of type error_spike; it goes by error_count_threshold and "
        "window_minutes"
    )


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"enabled": "yes"}', "enabled"),
        (b'{"enabled": 1}', "enabled"),
        (b'{"config": []}', "config"),
        (b'{"config": {"idle_minutes": 1.5}}', "idle_minutes"),
        (b'{"config": {"idle_minutes": -1}}', "idle_minutes"),
        (b'{"config": {"threshold_percent": -0.1}}', "threshold_percent"),
        (b'{"config": {"threshold_percent": "80"}}', "threshold_percent"),
        (b'{"config": {"threshold_percent": 1e999}}', "threshold_percent"),
        (b'{"config": {"idle_minutes": 1' + 400 * b"0" + b"}}", "idle_minutes"),
        (b'{"config": {"score_threshold": 101}}', "score_threshold"),
    ],
)
def test_a_rule_that_cannot_be_is_a_400_naming_the_field(api, body, field):
    before = api.get("/alerts/rules").json()
    assert_problem(api.put(f"/alerts/rules/{rule(api, 'agent_stuck')['id']}", content=body), 400, field)
    assert api.get("/alerts/rules").json() == before


def test_another_accounts_rule_is_not_found(api, other):
    assert_problem(other.put(f"/alerts/rules/{rule(api, 'agent_stuck')['id']}", json={"enabled": False}), 404)
    assert rule(api, "agent_stuck")["enabled"] is True


@pytest.mark.parametrize("path", ["/alerts/alert_1", "/alerts/rule", "/alerts/rules%2F"])
def test_an_unknown_alert_is_not_found(api, path):
    assert_problem(api.get(path), 404, "alert not found")


def test_an_unknown_rule_is_not_found(api):
    assert_problem(api.put("/alerts/rules/rule_1", json={"enabled": True}), 404, "alert rule not found")
