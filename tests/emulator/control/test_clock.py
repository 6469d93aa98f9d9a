"""Time in a test's hands: what the platform does by it happens at once, at its moment, and to one account only."""

from __future__ import annotations

import threading
import time
from datetime import datetime, timedelta, timezone

import httpx
import pytest
from internals import call_on_loop, platform_of
from leftovers import until
from sockets import open_socket
from websockets.exceptions import InvalidStatus

from caged import CagedAPIError, CagedAuthError, CagedRateLimitError, EventPayload, RuleConfig
from caged.emulator import EmulatorError
from caged.emulator.control.current_account import acting_for

#: USD per hour of the smallest sandbox: 1 core, half a GB of memory, 1 GB of disk.
SMALL = {"template": "minimal", "cpus": 1, "memory_mb": 512, "disk_gb": 1}
SMALL_RATE = 0.01 + 0.5 * 0.005 + 0.001
NEW_YEAR = datetime(2030, 1, 1, tzinfo=timezone.utc)


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def pauses(double, box):
    """(cause, when) of each pause, from the events of the sandbox."""
    events = double.journal.events(box, type="lifecycle")
    return [(event.data["cause"], moment(event.at)) for event in events if event.data["action"] == "pause"]


# --- moving it


def test_clock_shows_real_time_until_it_is_moved(either):
    assert abs((either.clock.now() - datetime.now(timezone.utc)).total_seconds()) < 5
    assert not either.clock.frozen


def test_frozen_it_stands_until_it_is_advanced(either):
    frozen = either.clock.freeze()
    assert either.clock.frozen
    assert either.clock.now() == frozen == either.clock.now()
    assert either.clock.tick() == frozen + timedelta(seconds=1)
    assert either.clock.tick(0.5) == frozen + timedelta(seconds=1.5)
    assert either.clock.advance(1, minutes=2, hours=3, days=4) == frozen + timedelta(4, 2.5, hours=3, minutes=2)
    assert either.clock.frozen


def test_unfrozen_it_goes_on_from_where_it_stood(either):
    either.clock.freeze(at=NEW_YEAR)
    assert timedelta(0) <= either.clock.unfreeze() - NEW_YEAR < timedelta(seconds=5)
    begun = either.clock.now()
    until(lambda: either.clock.now() > begun)
    assert not either.clock.frozen
    assert either.clock.unfreeze() - NEW_YEAR < timedelta(seconds=10), "unfreezing what is not frozen is harmless"


@pytest.mark.parametrize("at", [NEW_YEAR, NEW_YEAR.timestamp(), "2030-01-01T00:00:00Z", "2030-01-01T02:00:00+02:00"])
def test_a_moment_may_be_said_in_several_ways(either, at):
    assert either.clock.freeze(at=at) == NEW_YEAR


def test_unfrozen_clock_is_advanced_and_reset(either):
    either.clock.advance(hours=5)
    assert abs((either.clock.now() - datetime.now(timezone.utc)).total_seconds() - 5 * 3600) < 5
    assert abs((either.clock.reset() - datetime.now(timezone.utc)).total_seconds()) < 5


@pytest.mark.parametrize("back", [{"seconds": -1}, {"hours": 1, "minutes": -61}, {"days": 40_000}])
def test_clock_moves_forward_only_and_not_without_limit(either, back):
    before = either.clock.freeze()
    with pytest.raises(ValueError, match="the clock advances by 0 seconds to a hundred years, not by "):
        either.clock.advance(**back)
    assert either.clock.now() == before


@pytest.mark.parametrize("at", [-1.0, 1e18, "9999-12-31T23:59:59Z"])
def test_a_moment_is_one_that_can_be_written(double, at):
    with pytest.raises(ValueError, match="at: must be between 1970"):
        double.clock.freeze(at=at)


def test_time_ends_some_day(double):
    double.clock.freeze(at="8999-12-31T00:00:00Z")
    double.clock.tick(86400)
    with pytest.raises(ValueError, match="the latest time is 9000-01-01"):
        double.clock.tick()


@pytest.mark.parametrize("at", ["yesterday", "2030-01-01", "2030-01-01T00:00:00"])
def test_what_is_not_a_moment_is_refused(double, at):
    with pytest.raises(ValueError, match="at: must be an RFC 3339 time"):
        double.clock.freeze(at=at)


def test_a_datetime_needs_its_zone(double):
    with pytest.raises(ValueError, match="needs its time zone"):
        double.clock.freeze(at=datetime(2030, 1, 1))


# --- whose


def test_clock_is_that_of_one_account(double, emulator, client, other, box):
    with emulator.client(other.api_key) as elsewhere:
        theirs = elsewhere.sandboxes.create(template="minimal")
        double.clock.advance(hours=10)
        assert client.sandboxes.get(box).status == "paused"
        assert elsewhere.sandboxes.get(theirs.id).status == "running"
        assert elsewhere.sandboxes.get(theirs.id).total_cost < 0.001
        assert double.journal.events(account=other.id, type="lifecycle")[1:] == []
    assert abs((double.clock.now(other.id) - datetime.now(timezone.utc)).total_seconds()) < 5


def test_clock_of_all_accounts_can_be_moved(own_emulator):
    emulator = own_emulator()
    first, second = emulator.create_account(), emulator.create_account()
    with emulator.client(first.api_key) as one, emulator.client(second.api_key) as two:
        boxes = [(client, client.sandboxes.create(template="minimal").id) for client in (one, two)]
        emulator.clock.freeze(account=second.id)
        emulator.clock.advance(minutes=16, account="*")
        assert [client.sandboxes.get(box).status for client, box in boxes] == ["paused", "paused"]
        emulator.clock.freeze(at=NEW_YEAR, account="*")
        for account in (first.id, second.id, None, "*"):
            assert emulator.clock.now(account) == NEW_YEAR
        assert one.sandboxes.create(template="minimal").created_at == "2030-01-01T00:00:00.000Z"
        emulator.clock.reset(account="*")
        assert abs((emulator.clock.now(second.id) - datetime.now(timezone.utc)).total_seconds()) < 5


def test_the_journal_goes_by_the_accounts_time(double, client, box):
    double.clock.freeze(at=NEW_YEAR)
    double.journal.clear()
    client.sandboxes.exec(box, "true")
    with client.sandboxes.stream(box, "true") as output:
        output.text()
    double.clock.reset()
    client.sandboxes.list()
    requests = double.journal.requests()
    assert {entry.at for entry in requests[:-1]} == {"2030-01-01T00:00:00.000Z"}
    assert requests[-1].operation == "sandboxes.list", "the order is the one in which they came"
    assert requests[-1].at < "2030"
    assert {ran.at for ran in double.journal.commands()} == {"2030-01-01T00:00:00.000Z"}


# --- what time does


def test_a_sandbox_falls_asleep_after_fifteen_idle_minutes(either, client, box):
    begun = either.clock.freeze()
    client.sandboxes.exec(box, "true")
    either.clock.advance(minutes=14, seconds=59)
    assert client.sandboxes.get(box).status == "running"
    either.clock.advance(minutes=60)
    assert client.sandboxes.get(box).status == "paused"
    ((cause, when),) = pauses(either, box)
    assert cause == "idle_timeout"
    assert abs(when - begun - timedelta(minutes=15)) < timedelta(seconds=0.01), "at its moment, not at the end"


def test_what_becomes_due_has_happened_when_advance_returns(double, client):
    boxes = [client.sandboxes.create(template="minimal", timeout=60 * (number + 1)).id for number in range(5)]
    begun = double.clock.now()
    double.clock.advance(minutes=30)
    for number, box in enumerate(boxes):
        assert client.sandboxes.get(box).status == "paused"
        ((_, when),) = pauses(double, box)
        assert abs((when - begun).total_seconds() - 60 * (number + 1)) < 10


def test_a_budget_is_reached_after_hours_with_its_alerts_in_order(either, client):
    either.clock.freeze(at=NEW_YEAR)
    box = client.sandboxes.create(**SMALL, budget=9 * SMALL_RATE, timeout=10**7).id
    either.clock.advance(hours=100)
    assert client.sandboxes.get(box).status == "paused"
    assert client.sandboxes.get(box).total_cost == pytest.approx(9 * SMALL_RATE, rel=1e-4)
    alerts = client.alerts.list().alerts[::-1]
    assert [alert.meta["percent"] for alert in alerts] == ["80", "95", "100"]
    for alert, share in zip(alerts, (0.8, 0.95, 1.0)):
        late = moment(alert.created_at) - NEW_YEAR - timedelta(hours=9 * share)
        assert timedelta(0) <= late < timedelta(seconds=1), (alert, late)
    ((cause, when),) = pauses(either, box)
    assert cause == "budget"
    assert abs(when - NEW_YEAR - timedelta(hours=9)) < timedelta(seconds=1)
    with pytest.raises(CagedAPIError, match="has used its budget"):
        client.sandboxes.resume(box)


def test_an_alert_of_the_accounts_own_threshold_comes_at_its_moment(double, client):
    double.clock.freeze(at=NEW_YEAR)
    rule = next(rule for rule in client.alerts.list_rules() if rule.type == "budget_exceeded")
    client.alerts.update_rule(rule.id, config=RuleConfig(threshold_percent=50))
    client.sandboxes.create(**SMALL, budget=10 * SMALL_RATE, timeout=10**7)
    double.clock.advance(hours=7)
    (alert,) = client.alerts.list().alerts
    assert abs(moment(alert.created_at) - NEW_YEAR - timedelta(hours=5)) < timedelta(seconds=1)


def test_silent_agent_is_alerted_of_at_its_moment(double, account, client):
    double.clock.freeze(at=NEW_YEAR)
    box = client.sandboxes.create(template="minimal", agents=["claude-code"], timeout=7200).id
    platform = platform_of(double)

    async def begin():
        with acting_for(account.id):
            platform.agent_sessions.begin(platform.store.sandboxes[box], "claude-code", None)

    call_on_loop(double, begin())  # no call of the API leaves a session open
    double.clock.advance(hours=1)
    (stuck,) = [alert for alert in client.alerts.list().alerts if alert.rule_type == "agent_stuck"]
    assert abs(moment(stuck.created_at) - NEW_YEAR - timedelta(minutes=10)) < timedelta(seconds=1)


def errors(client, box, count):
    client.events.ingest([EventPayload("error", box, payload={"message": "oh"}) for _ in range(count)])


def spikes(client):
    return [alert for alert in client.alerts.list().alerts if alert.rule_type == "error_spike"]


def test_errors_count_within_their_window(double, client, box):
    errors(client, box, 9)
    double.clock.advance(minutes=6)
    errors(client, box, 9)
    assert spikes(client) == []
    double.clock.advance(minutes=4)
    errors(client, box, 1)
    assert len(spikes(client)) == 1


def test_a_ticket_is_good_for_a_minute(double, api, box):
    def knock(ticket):
        with open_socket(double.base_url, f"/sandboxes/{box}/mcp", ticket, "mcp"):
            return True

    double.clock.freeze()
    early, late = (api.post("/v1/auth/socket-ticket").json()["ticket"] for _ in range(2))
    double.clock.advance(59)
    assert knock(early)
    double.clock.advance(1)
    with pytest.raises(InvalidStatus, match="401"):
        knock(late)


def test_a_download_url_is_good_for_an_hour(double, client, box):
    url = client.snapshots.download_url(client.snapshots.wait(client.snapshots.create(box).id).id)
    double.clock.advance(minutes=59)
    assert httpx.get(url, trust_env=False, verify=False, timeout=60).status_code == 200
    double.clock.advance(minutes=2)
    assert httpx.get(url, trust_env=False, verify=False, timeout=60).status_code == 403


def test_a_session_of_the_dashboard_expires(own_emulator):
    emulator = own_emulator()
    body = {"email": "ann@example.com", "password": "correct horse"}
    signup = httpx.post(f"{emulator.base_url}/signup", json=body, trust_env=False, verify=False, timeout=60).json()
    lasts = moment(signup["expires_at"]) - datetime.now(timezone.utc)
    with emulator.client(signup["token"]) as client:
        account = client.account.get()
        emulator.clock.advance(lasts.total_seconds() - 60, account=account.id)
        assert client.account.get().id == account.id
        emulator.clock.advance(minutes=2, account=account.id)
        with pytest.raises(CagedAuthError, match="expired"):
            client.account.get()


def test_the_rate_of_a_tier_begins_anew_with_each_minute(own_emulator):
    emulator = own_emulator(tier="free")
    emulator.clock.freeze(at=NEW_YEAR + timedelta(seconds=20))
    with emulator.client(max_retries=0) as client:
        most = int(
            httpx.get(f"{emulator.base_url}/healthz", trust_env=False, verify=False, timeout=60).headers[
                "X-RateLimit-Limit"
            ]
        )
        for _ in range(most):
            client.account.get()
        with pytest.raises(CagedRateLimitError) as caught:
            client.account.get()
        assert caught.value.retry_after == 40
        emulator.clock.advance(39)
        with pytest.raises(CagedRateLimitError):
            client.account.get()
        emulator.clock.advance(1)
        client.account.get()


def test_billing_counts_the_time_that_passed(double, client):
    client.sandboxes.create(**SMALL, timeout=10**7)
    double.clock.advance(hours=3)
    assert client.billing.get_usage().compute_minutes == 180
    double.reset()
    assert client.billing.get_usage().compute_minutes == 0


def test_a_session_lasts_as_long_as_the_clock_says(double, client):
    begun = double.clock.freeze()
    box = client.sandboxes.create(template="minimal", agents=["claude-code"]).id
    client.sandboxes.exec(box, "claude -p hello")
    (session,) = client.sessions.list_by_sandbox(box)
    assert moment(session.started_at) == begun
    assert session.ended_at == session.started_at


# --- what it does not do


def test_setting_it_costs_nothing_and_resumes_no_sandbox(either, client):
    box = client.sandboxes.create(**SMALL, budget=0.02).id
    for at in (NEW_YEAR, "2020-01-01T00:00:00Z", "2040-01-01T00:00:00Z"):
        either.clock.freeze(at=at)
        either.clock.tick(0)
        assert client.sandboxes.get(box).status == "running"
        assert client.sandboxes.get(box).total_cost < 0.001
    either.clock.reset()
    assert client.sandboxes.get(box).total_cost < 0.001
    either.clock.advance(minutes=16)
    assert client.sandboxes.get(box).status == "paused", "its idle time counts from now, whatever the clock said"


def test_duration_of_a_command_is_real_time_and_zero_while_the_clock_is_frozen(double, client, box):
    def taken():
        """Milliseconds that a command took, as the journal says."""
        client.sandboxes.exec(box, "sleep 0.2")
        return double.journal.commands()[-1].duration_ms

    assert taken() >= 200
    double.clock.advance(hours=1)
    client.sandboxes.resume(box)
    assert 200 <= taken() < 60_000
    double.clock.freeze()
    assert taken() == 0


@pytest.mark.parametrize("at", [None, NEW_YEAR])
def test_freezing_in_the_middle_of_a_command_makes_no_nonsense_of_its_duration(double, client, box, at):
    running = threading.Thread(
        target=client.sandboxes.exec, args=(box, "touch on; until [ -e go ]; do sleep 0.01; done")
    )
    begun = time.monotonic()
    running.start()
    until(lambda: [file.name for file in client.files.list(box)] == ["on"])
    double.clock.freeze(at)
    client.files.write(box, "go", "")
    running.join(60)
    assert 0 <= double.journal.commands()[-1].duration_ms <= (time.monotonic() - begun) * 1000


def test_an_unknown_account_has_no_time(double):
    with pytest.raises(EmulatorError, match="account not found: acct_unknown"):
        double.clock.advance(1, account="acct_unknown")
