"""The SDK's resources besides sandboxes and files, against the emulator: each through both clients."""

import asyncio
import inspect
import time

import pytest

import caged
from caged import EventPayload, NotificationConfigUpdate, RuleConfig


@pytest.fixture
def account(emulator):
    """An account of its own: what it lists was made by this test."""
    made = emulator.create_account()
    yield made
    emulator.remove_account(made.id)


@pytest.fixture(params=["sync", "async"])
def call(request, emulator, account):
    """``call(lambda client: ...)`` gives the result of one call."""

    async def result_of(use, client):
        result = use(client)
        if inspect.isasyncgen(result):
            return [item async for item in result]
        return await result

    def sync(use):
        with emulator.client(account.api_key) as client:
            result = use(client)
            return list(result) if inspect.isgenerator(result) else result

    def with_loop(use):
        async def main():
            async with emulator.async_client(account.api_key) as client:
                return await result_of(use, client)

        return asyncio.run(main())

    return sync if request.param == "sync" else with_loop


@pytest.fixture
def box(call):
    return call(lambda c: c.sandboxes.create(agents=["claude"])).id


def test_sessions_and_their_replay(call, box):
    call(lambda c: c.sandboxes.exec(box, 'claude -p "one"'))
    call(lambda c: c.sandboxes.exec(box, 'claude -p "two"'))
    second, first = call(lambda c: c.sessions.list()).data
    assert {first.agent_type, second.agent_type} == {"claude-code"}
    assert first.started_at <= second.started_at
    assert {session.id for session in call(lambda c: c.sessions.list_by_sandbox(box))} == {first.id, second.id}
    page = call(lambda c: c.sessions.list(page=2, per_page=1))
    assert ([session.id for session in page.data], page.pagination) == ([first.id], caged.Pagination(2, 1, 2, 2))
    session = call(lambda c: c.sessions.get(first.id))
    assert session.status == "completed"
    assert session.total_cost == pytest.approx(session.llm_cost + session.compute_cost)

    events = call(lambda c: c.sessions.replay_events(first.id))
    assert [event.sequence for event in events] == sorted({event.sequence for event in events})
    assert len(events) == session.event_count > 1
    only_first = call(lambda c: c.sessions.replay(first.id, limit=1))
    assert (only_first.events, only_first.has_more, only_first.total) == (events[:1], True, len(events))
    rest = call(lambda c: c.sessions.replay_events(first.id, after_seq=only_first.next_seq))
    assert rest == events[1:]
    of_one_type = call(lambda c: c.sessions.replay_events(first.id, type="llm_call"))
    assert of_one_type == [event for event in events if event.type == "llm_call"] != []
    summary = call(lambda c: c.sessions.replay_summary(first.id))
    assert (summary.event_count, sum(summary.types.values())) == (len(events), len(events))


def test_events_that_are_reported_are_in_the_replay(call, box):
    call(lambda c: c.sandboxes.exec(box, 'claude -p "one"'))
    (session,) = call(lambda c: c.sessions.list_by_sandbox(box))
    mine = EventPayload(
        "tool_call", box, session.id, payload={"tool": "search"}, meta={"a": "b"}, duration_ns=2_000_000
    )
    assert call(lambda c: c.events.ingest([mine])) == caged.IngestResponse(accepted=1, errors=0)
    (event,) = call(lambda c: c.sessions.replay_events(session.id, type="tool_call"))
    assert event.data["tool"] == "search"
    assert event.duration_ms == 2.0


def test_unknown_sessions_and_alerts_are_not_found(call):
    for use in (
        lambda c: c.sessions.get("sess_nothing1"),
        lambda c: c.sessions.replay("sess_nothing1"),
        lambda c: c.alerts.get("alert_nothing1"),
        lambda c: c.alerts.resolve("alert_nothing1"),
        lambda c: c.alerts.update_rule("rule_nothing1", enabled=False),
        lambda c: c.notifications.mark_read("ntf_nothing1"),
        lambda c: c.account.revoke_session("login_nothing1"),
        lambda c: c.sandboxes.ports("cage_nothing1"),
        lambda c: c.sandboxes.trust_scores("cage_nothing1"),
    ):
        with pytest.raises(caged.CagedNotFoundError):
            call(use)


def test_trust_scores_have_one_row_per_session(call, box):
    call(lambda c: c.sandboxes.exec(box, 'claude -p "one"'))
    (score,) = call(lambda c: c.sandboxes.trust_scores(box))
    assert score.session_id == call(lambda c: c.sessions.list_by_sandbox(box))[0].id
    assert 0 <= score.score <= 100


def test_alert_rules_can_be_changed(call):
    rules = {rule.type: rule for rule in call(lambda c: c.alerts.list_rules())}
    rule = rules["budget_exceeded"]
    changed = call(lambda c: c.alerts.update_rule(rule.id, enabled=False, config=RuleConfig(threshold_percent=50)))
    assert (changed.enabled, changed.config.threshold_percent) == (False, 50.0)
    assert {each.id: each for each in call(lambda c: c.alerts.list_rules())}[rule.id] == changed


def test_an_alert_is_listed_notified_and_resolved(call):
    spent = call(lambda c: c.sandboxes.create(budget=1e-9)).id

    def alerts():
        return call(lambda c: c.alerts.list(limit=10)).alerts

    deadline = time.monotonic() + 60
    while not alerts():
        assert time.monotonic() < deadline, "a spent budget raised no alert"
        time.sleep(0.05)
    alert = alerts()[-1]
    assert (alert.sandbox_id, alert.rule_type, alert.resolved) == (spent, "budget_exceeded", False)
    call(lambda c: c.alerts.resolve(alert.id))
    resolved = call(lambda c: c.alerts.get(alert.id))
    assert resolved.resolved
    assert resolved.resolved_at

    unread = call(lambda c: c.notifications.list_unread())
    assert len(unread) == call(lambda c: c.notifications.unread_count()) > 0
    call(lambda c: c.notifications.mark_read(unread[0].id))
    assert call(lambda c: c.notifications.unread_count()) < len(unread)
    call(lambda c: c.notifications.mark_all_read())
    assert call(lambda c: c.notifications.list(unread_only=True)).notifications == []
    assert len(call(lambda c: c.notifications.list(limit=1)).notifications) == 1


def test_where_notifications_go_is_kept_and_credentials_are_not_shown(call):
    hook = "https://hooks.slack.com/services/T0/B0/abcdwxyz"
    update = NotificationConfigUpdate(["email", "slack"], email_address="a@b.example", slack_webhook_url=hook)
    config = call(lambda c: c.notifications.update_config(update))
    assert config == call(lambda c: c.notifications.get_config())
    assert (config.enabled_channels, config.email_address) == (["email", "slack"], "a@b.example")
    assert config.slack_webhook_configured
    assert hook not in repr(config)
    cleared = NotificationConfigUpdate(slack_webhook_url=caged.CLEAR_CREDENTIAL)
    config = call(lambda c: c.notifications.update_config(cleared))
    assert (config.slack_webhook_configured, config.email_address) == (False, "a@b.example")


def test_billing(call):
    subscription = call(lambda c: c.billing.get_subscription())
    assert (subscription.status, subscription.cancel_at_period_end) == ("active", False)
    assert call(lambda c: c.billing.get_usage()).compute_minutes == 0
    assert call(lambda c: c.billing.create_checkout("pro")).startswith("http://127.0.0.1:")
    assert call(lambda c: c.billing.create_portal()).startswith("http://127.0.0.1:")
    with pytest.raises(caged.CagedValidationError):
        call(lambda c: c.billing.create_checkout("gold"))
    call(lambda c: c.billing.cancel())
    assert call(lambda c: c.billing.get_subscription()).cancel_at_period_end


def test_new_account_has_no_login_sessions(call):
    assert call(lambda c: c.account.list_sessions()) == []


def test_a_listening_port_is_listed(call):
    box = call(lambda c: c.sandboxes.create()).id
    call(lambda c: c.sandboxes.exec(box, "python3 -m http.server 0 >/dev/null 2>&1 &"))
    deadline = time.monotonic() + 60
    while not call(lambda c: c.sandboxes.ports(box)):
        assert time.monotonic() < deadline, "the port was not found"
        time.sleep(0.05)
    (port,) = call(lambda c: c.sandboxes.ports(box))
    assert port.port > 1023
    assert port.protocol in ("http", "tcp")
    assert port.detected_at
    assert not port.protected
