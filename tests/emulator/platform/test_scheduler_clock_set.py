"""A clock that is set, not moved on: no time passes by it, whichever way it goes. What was counted before still counts,
what had to expire expires as long after as it would have, and nothing is due that was not."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from emulator_testing import Api
from internals import call_on_loop, platform_of

from caged.emulator import Emulator


@pytest.fixture(scope="module")
def emulator(process_emulator: Emulator) -> Emulator:
    """Nothing here depends on the isolation."""
    return process_emulator


PAST, FUTURE = "2020-01-01T00:00:00Z", "2040-01-01T00:00:00Z"


def clock(api: Api, method: str, path: str = "", account: str = "", **body: Any) -> None:
    emulator = api.emulator
    answer = httpx.request(
        method,
        f"{emulator.base_url}/_emulator/clock{path}",
        json=body if method == "POST" else None,
        params={"account": account or api.account_id},
        headers={"Authorization": f"Bearer {emulator.admin_key}"},
        timeout=60,
        trust_env=False,
        verify=False,
    )
    assert answer.status_code == 200, answer.text


def freeze(api: Api, at: str = "", account: str = "") -> None:
    clock(api, "POST", "/freeze", account, **({"at": at} if at else {}))


def advance(api: Api, account: str = "", **parts: float) -> None:
    clock(api, "POST", "/advance", account, **parts)


def reset(api: Api, account: str = "") -> None:
    clock(api, "DELETE", "", account)


def unfreeze(api: Api, account: str = "") -> None:
    clock(api, "POST", "/unfreeze", account)


Step = Callable[..., None]
NOTHING: Step = lambda api, account="": None  # noqa: E731
#: name: (how the clock stands first, how it is set then)
SETTINGS: dict[str, tuple[Step, Step]] = {
    "frozen at an earlier moment": (NOTHING, lambda api, account="": freeze(api, PAST, account)),
    "frozen at a later moment": (NOTHING, lambda api, account="": freeze(api, FUTURE, account)),
    "reset from a later moment": (lambda api, account="": freeze(api, FUTURE, account), reset),
    "reset from an earlier moment": (lambda api, account="": freeze(api, PAST, account), reset),
    "reset after it was advanced": (lambda api, account="": advance(api, account, days=30), reset),
    "frozen earlier than it was frozen": (
        lambda api, account="": freeze(api, FUTURE, account),
        lambda api, account="": freeze(api, PAST, account),
    ),
    "unfrozen": (lambda api, account="": freeze(api, FUTURE, account), unfreeze),
}


@pytest.fixture(params=SETTINGS)
def setting(request: pytest.FixtureRequest, api: Api) -> Callable[..., None]:
    """The clock stands as it does first; called, it sets it."""
    first, then = SETTINGS[request.param]
    first(api)
    return lambda: then(api)


def alerts(api: Api, kind: str) -> list[dict[str, Any]]:
    found = api.get("/alerts").json()["alerts"]
    return [alert for alert in found if alert["rule_type"] == kind]


def configure(api: Api, kind: str, **config: float) -> None:
    (rule,) = [rule for rule in api.get("/alerts/rules").json() if rule["type"] == kind]
    assert api.put(f"/alerts/rules/{rule['id']}", json={"enabled": True, "config": config}).status_code == 200


def ingest(api: Api, box: str, kind: str, **more: Any) -> None:
    event = {"type": kind, "timestamp": "2026-01-01T00:00:00Z", "sandbox_id": box, "payload": {}, **more}
    assert api.post("/events/ingest", json={"events": [event]}).json() == {"accepted": 1, "errors": 0}


def on_loop(api: Api, call: Callable[[], Any]) -> Any:
    from caged.emulator.control.current_account import acting_for

    async def run() -> Any:
        with acting_for(api.account_id):
            return call()

    return call_on_loop(api.emulator, run())


def platform(api: Api) -> Any:
    return platform_of(api.emulator)


def begin_session(api: Api, box: str) -> Any:
    record = platform(api).store.sandboxes[box]
    return on_loop(api, lambda: platform(api).agent_sessions.begin(record, "claude-code", None))


# --- alert rules


def test_errors_before_and_after_count_together(api, setting):
    box = api.sandbox()
    configure(api, "error_spike", error_count_threshold=3, window_minutes=10)
    ingest(api, box, "error")
    ingest(api, box, "error")
    setting()
    ingest(api, box, "error")
    assert len(alerts(api, "error_spike")) == 1


def test_errors_from_before_the_window_do_not_count(api, setting):
    box = api.sandbox(timeout=86400)
    configure(api, "error_spike", error_count_threshold=3, window_minutes=10)
    ingest(api, box, "error")
    ingest(api, box, "error")
    setting()
    advance(api, minutes=11)
    ingest(api, box, "error")
    assert alerts(api, "error_spike") == []
    ingest(api, box, "error")
    ingest(api, box, "error")
    assert len(alerts(api, "error_spike")) == 1


def test_errors_of_no_sandbox_from_before_the_window_do_not_count(api, setting):
    configure(api, "error_spike", error_count_threshold=2, window_minutes=10)
    ingest(api, "", "error")
    setting()
    advance(api, minutes=11)
    ingest(api, "", "error")
    assert alerts(api, "error_spike") == []
    ingest(api, "", "error")
    assert len(alerts(api, "error_spike")) == 1


def test_silence_of_an_agent_is_as_long_as_it_was(api, setting):
    eventful, silent = api.sandbox(timeout=86400), api.sandbox(timeout=86400)
    configure(api, "agent_stuck", idle_minutes=5)
    ingest(api, eventful, "tool_call", session_id=begin_session(api, eventful).id)
    begin_session(api, silent)
    advance(api, minutes=3)
    setting()
    advance(api, minutes=1)
    assert alerts(api, "agent_stuck") == []
    advance(api, minutes=1.5)
    assert {alert["sandbox_id"] for alert in alerts(api, "agent_stuck")} == {eventful, silent}
    setting()
    advance(api, minutes=10)
    assert len(alerts(api, "agent_stuck")) == 2, "the same silence is alerted of once"


def test_agent_with_events_in_the_future_is_reported_as_stuck(api):
    box = api.sandbox(timeout=86400)
    configure(api, "agent_stuck", idle_minutes=5)
    ingest(api, box, "tool_call", session_id=begin_session(api, box).id, timestamp=FUTURE)
    advance(api, minutes=6)
    assert len(alerts(api, "agent_stuck")) == 1


def test_budget_is_used_by_time_that_passes_alone(api, setting):
    box = api.sandbox(timeout=86400, budget=0.10)
    setting()
    advance(api, seconds=1)
    assert alerts(api, "budget_exceeded") == []
    assert api.get(f"/sandboxes/{box}").json()["cost"] < 0.001
    advance(api, hours=2)
    assert api.get(f"/sandboxes/{box}").json()["cost"] == pytest.approx(2 * 0.0275, rel=0.02)


def test_trust_is_lost_by_deletions_at_once_alone(api, setting):
    box = api.sandbox(timeout=86400)
    session = begin_session(api, box)

    def delete(count: int) -> None:
        for number in range(count):
            payload = {"operation": "delete", "path": f"/workspace/{number}"}
            ingest(api, box, "file_op", session_id=session.id, payload=payload)

    delete(8)
    setting()
    advance(api, seconds=20)
    delete(8)
    assert session.trust_score == 100, "eight and eight, with 20 s in between"
    delete(3)
    assert session.trust_score < 100, "eleven within 10 s"


def test_cost_of_sessions_is_compared_whatever_the_time(api, setting):
    box = api.sandbox(timeout=86400)
    configure(api, "cost_anomaly", multiplier_threshold=3)
    record = platform(api).store.sandboxes[box]

    def spend(usd: float) -> None:
        session = begin_session(api, box)
        on_loop(api, lambda: platform(api).agent_sessions.spend(record, session, 0, 0, usd))
        on_loop(api, lambda: platform(api).agent_sessions.end(record, session, completed=True))

    for _ in range(3):
        spend(0.1)
    setting()
    assert alerts(api, "cost_anomaly") == []
    spend(0.9)
    assert len(alerts(api, "cost_anomaly")) == 1


# --- the same elsewhere


def test_sandbox_falls_asleep_as_long_after(api, setting):
    box = api.sandbox(timeout=600)
    advance(api, seconds=300)
    setting()
    advance(api, seconds=200)
    assert api.status(box) == "running"
    advance(api, seconds=150)
    assert api.status(box) == "paused"


def test_command_after_a_session_is_not_of_the_session(api, setting):
    box = api.sandbox(timeout=86400)
    record = platform(api).store.sandboxes[box]
    session = begin_session(api, box)
    on_loop(api, lambda: platform(api).agent_sessions.end(record, session, completed=True))
    setting()
    advance(api, seconds=60)
    api.output(box, "true")
    command = [event for event in record.history.events() if event.type == "command"][-1]
    assert command.session_id == ""


def test_ticket_expires_as_long_after(api, setting):
    tickets = platform(api).tickets
    key = on_loop(api, lambda: platform(api).accounts.authenticate(api.key)[1])
    early, late = (on_loop(api, lambda: tickets.mint(key).secret) for _ in range(2))
    setting()
    assert on_loop(api, lambda: tickets.admit(early))[0].id == api.account_id
    advance(api, seconds=61)
    with pytest.raises(Exception, match="too old"):
        on_loop(api, lambda: tickets.admit(late))


def test_download_url_expires_as_long_after(api, setting):
    snapshot = api.snapshot(api.sandbox(timeout=86400))
    url = api.get(f"/snapshots/{snapshot}/download").json()["url"]
    advance(api, minutes=30)
    setting()
    assert httpx.get(url, trust_env=False, verify=False, timeout=60).status_code == 200
    advance(api, minutes=31)
    expired = httpx.get(url, trust_env=False, verify=False, timeout=60)
    assert (expired.status_code, "expired" in expired.text) == (403, True)


@pytest.mark.parametrize("name", SETTINGS)
def test_dashboard_session_expires_as_long_after(emulator, api, name):
    first, then = SETTINGS[name]
    body = {"email": f"{uuid.uuid4().hex}@example.com", "password": "long enough"}
    signed = httpx.post(f"{emulator.base_url}/signup", json=body, trust_env=False, verify=False, timeout=60)
    assert signed.status_code == 201, signed.text
    token = signed.json()["token"]
    account = platform(api).store.logins[token].key.account_id
    try:
        with Api(emulator, token, account) as dashboard:
            if name == "reset after it was advanced":  # by less than the session lasts
                advance(dashboard, days=6)
            else:
                first(dashboard)
                advance(dashboard, days=6)
            then(dashboard)
            advance(dashboard, hours=20)
            assert dashboard.get("/sandboxes").status_code == 200
            advance(dashboard, hours=5)
            assert dashboard.get("/sandboxes").status_code == 401
    finally:
        emulator.remove_account(account)


@pytest.fixture(scope="module")
def limited():
    """An emulator with the limits of the free plan, whose clock of all accounts tests may move if they reset it."""
    with Emulator(tier="free", isolation="process") as running:
        yield running


@pytest.mark.parametrize("name", SETTINGS)
def test_device_code_expires_as_long_after(limited, new_api, request, name):
    """A code belongs to no account, so it goes by the clock of all accounts."""
    first, then = SETTINGS[name]
    api = new_api(limited)
    request.addfinalizer(lambda: reset(api, "*"))
    first(api, account="*")
    codes = [api.post("/auth/device/code", json={}).json()["device_code"] for _ in range(2)]
    body = [{"device_code": code, "grant_type": "urn:ietf:params:oauth:grant-type:device_code"} for code in codes]
    advance(api, "*", minutes=9)
    then(api, account="*")
    assert api.post("/auth/device/token", json=body[0]).status_code == 200
    advance(api, "*", minutes=2)
    assert "expired" in api.post("/auth/device/token", json=body[1]).text


@pytest.mark.parametrize("name", SETTINGS)
def test_rate_limit_counts_by_the_minute_that_the_clock_shows(limited, new_api, name):
    first, then = SETTINGS[name]
    api = new_api(limited)
    first(api)
    freeze(api)
    then(api)
    freeze(api)
    answers = [api.get("/sandboxes").status_code for _ in range(61)]
    assert answers[-1] == 429
    assert answers.count(200) == 60
    advance(api, seconds=61)
    assert api.get("/sandboxes").status_code == 200, "a clock that went back does not lock anyone out"
