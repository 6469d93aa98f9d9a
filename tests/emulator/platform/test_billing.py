"""Plans, periods and running time. The emulator's clock is moved; no money is."""

from datetime import datetime, timedelta, timezone

import httpx
import pytest
from emulator_testing import Api, FakeClock, assert_problem


@pytest.fixture(scope="module")
def emulator(process_emulator):
    """Nothing here depends on the isolation."""
    return process_emulator


MONTH = 30 * 24 * 3600


@pytest.fixture
def on(own_emulator, new_api):
    """A client and the clock of an emulator that was started with a tier."""

    def make(tier):
        emulator = own_emulator(tier=tier, isolation="process")
        return new_api(emulator), FakeClock(emulator)

    return make


def subscription(api):
    answer = api.get("/billing/subscription")
    assert answer.status_code == 200, answer.text
    return answer.json()


def usage(api):
    return api.get("/billing/usage").json()


def buy(api, plan):
    """Opens the page of a checkout, as a browser without a key does."""
    url = api.post("/billing/checkout", json={"plan_id": plan}).json()["url"]
    return httpx.get(url, trust_env=False, verify=False, timeout=60)


def moment(text):
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


# --- the subscription


def test_a_paid_plan_has_a_period_of_30_days(on):
    api, clock = on("pro")
    found = subscription(api)
    end = moment(found.pop("current_period_end"))
    assert (end - datetime.now(timezone.utc)).total_seconds() == pytest.approx(MONTH, abs=30)
    assert found == {
        "tier": "pro",
        "status": "active",
        "customer_id": f"cus_{api.account_id[5:]}",
        "cancel_at_period_end": False,
    }
    clock.advance(MONTH)
    assert moment(subscription(api)["current_period_end"]) == end + timedelta(days=30)
    clock.advance(10 * MONTH)
    assert moment(subscription(api)["current_period_end"]) == end + timedelta(days=330)
    assert subscription(api)["tier"] == "pro"


def test_the_free_plan_has_none(on):
    api, _clock = on("free")
    found = subscription(api)
    assert (found["tier"], found["status"]) == ("free", "active")
    assert "current_period_end" not in found


def test_without_a_tier_an_account_looks_like_a_teams(api):
    assert subscription(api)["tier"] == "team"


# --- checkout


def test_opening_the_checkout_page_changes_the_plan_and_its_limits(on):
    api, _clock = on("free")
    assert int(api.get("/account").headers["x-ratelimit-limit"]) == 60
    assert_problem(api.post("/account/keys", json={"name": "second"}), 403, code="plan_limit_reached")
    page = buy(api, "pro")
    assert (page.status_code, page.headers["content-type"]) == (200, "text/plain; charset=utf-8")
    assert f"{api.account_id} is on the pro plan" in page.text
    assert "nothing was charged" in page.text
    assert api.get("/account").json()["tier"] == "pro"
    assert subscription(api)["tier"] == "pro"
    assert int(api.get("/account").headers["x-ratelimit-limit"]) == 300
    assert api.post("/account/keys", json={"name": "second"}).status_code == 201
    for _ in range(3):
        api.sandbox()
    timeout = api.post("/sandboxes", json={"template": "minimal", "timeout": 10**6}).json()["timeout"]
    assert timeout == 6 * 3600


def test_the_rate_is_the_plans_also_when_it_is_used_up(on):
    api, clock = on("free")
    clock.begin_minute()
    buy(api, "pro")
    answers = [api.get("/account") for _ in range(300)]
    assert [answer.status_code for answer in answers[:299]] == [200] * 299
    assert answers[-1].status_code == 429
    assert [answers[-1].headers[f"x-ratelimit-{name}"] for name in ("limit", "remaining")] == ["300", "0"]
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 60


def test_a_plan_is_its_accounts_alone(on, new_api):
    api, _clock = on("free")
    other = new_api(api.emulator)
    buy(api, "team")
    assert other.get("/account").json()["tier"] == "free"


def test_asking_for_a_checkout_changes_nothing(on):
    api, _clock = on("free")
    url = api.post("/billing/checkout", json={"plan_id": "pro"}).json()["url"]
    assert url.startswith(f"{api.emulator.base_url}/billing/checkout/")
    assert subscription(api)["tier"] == "free"


def test_a_checkout_page_opens_once(on):
    api, _clock = on("free")
    url = api.post("/billing/checkout", json={"plan_id": "pro"}).json()["url"]
    assert httpx.get(url, trust_env=False, verify=False, timeout=60).status_code == 200
    assert_problem(httpx.get(url, trust_env=False, verify=False, timeout=60), 404, "used, expired")


def test_a_checkout_page_expires(on):
    api, clock = on("free")
    url = api.post("/billing/checkout", json={"plan_id": "pro"}).json()["url"]
    clock.offset += 24 * 3600
    assert_problem(httpx.get(url, trust_env=False, verify=False, timeout=60), 404, "ask the API for a new URL")
    assert subscription(api)["tier"] == "free"


def test_the_checkout_of_a_deleted_account_is_gone(own_emulator, new_api):
    api = new_api(own_emulator(isolation="process"))
    url = api.post("/billing/checkout", json={"plan_id": "pro"}).json()["url"]
    api.emulator.remove_account(api.account_id)
    assert_problem(httpx.get(url, trust_env=False, verify=False, timeout=60), 404)


@pytest.mark.parametrize(
    "body", [{}, {"plan_id": ""}, {"plan_id": None}, {"plan_id": "free"}, {"plan_id": "enterprise"}, {"plan_id": 1}]
)
def test_a_checkout_of_no_plan_is_a_400(api, body):
    assert_problem(api.post("/billing/checkout", json=body), 400, "plan_id")


def test_the_documentations_older_key_is_not_taken(api):
    assert_problem(api.post("/billing/checkout", json={"plan": "pro"}), 400, "plan_id: is required")


@pytest.mark.parametrize("path", ["/billing/checkout/x", "/billing/portal/x"])
def test_a_page_that_was_never_made_is_not_found(api, path):
    assert_problem(
        httpx.get(f"{api.emulator.base_url}{path}", trust_env=False, verify=False, timeout=60), 404, "not found"
    )


# --- the portal


def test_the_portal_shows_the_subscription_as_often_as_it_is_opened(on):
    api, _clock = on("pro")
    url = api.post("/billing/portal", json={}).json()["url"]
    for verb in ("renews", "ends"):
        page = httpx.get(url, trust_env=False, verify=False, timeout=60)
        assert (page.status_code, page.headers["content-type"]) == (200, "text/plain; charset=utf-8")
        assert f"Account {api.account_id}\nPlan: pro (active)\n" in page.text
        assert f"The subscription {verb} on {subscription(api)['current_period_end']}" in page.text
        api.post("/billing/cancel")


def test_the_portals_url_buys_nothing_and_a_checkouts_shows_nothing(on):
    api, _clock = on("free")
    portal = api.post("/billing/portal").json()["url"]
    checkout = api.post("/billing/checkout", json={"plan_id": "pro"}).json()["url"]
    assert_problem(httpx.get(portal.replace("portal", "checkout"), trust_env=False, verify=False, timeout=60), 404)
    assert_problem(httpx.get(checkout.replace("checkout", "portal"), trust_env=False, verify=False, timeout=60), 404)
    assert subscription(api)["tier"] == "free"


# --- cancelling


def test_a_cancelled_plan_ends_with_its_period(on):
    api, clock = on("pro")
    for _ in range(2):
        answer = api.post("/billing/cancel")
        assert (answer.status_code, answer.content) == (204, b"")
    found = subscription(api)
    assert (found["tier"], found["status"], found["cancel_at_period_end"]) == ("pro", "active", True)
    clock.advance(MONTH - 60)
    assert subscription(api)["tier"] == "pro"
    clock.advance(120)
    found = subscription(api)
    assert (found["tier"], found["status"], found["cancel_at_period_end"]) == ("free", "canceled", False)
    assert "current_period_end" not in found
    assert api.get("/account").json()["tier"] == "free"
    assert int(api.get("/account").headers["x-ratelimit-limit"]) == 60


def test_buying_again_takes_the_cancelling_back(on):
    api, clock = on("pro")
    api.post("/billing/cancel")
    buy(api, "team")
    found = subscription(api)
    assert (found["tier"], found["cancel_at_period_end"]) == ("team", False)
    clock.advance(2 * MONTH)
    assert subscription(api)["tier"] == "team"


def test_on_the_free_plan_there_is_nothing_to_cancel(on):
    api, _clock = on("free")
    assert_problem(api.post("/billing/cancel"), 409, "free plan", "invalid_state")


# --- usage


def test_nothing_has_run_at_first(api):
    assert usage(api) == {"compute_minutes": 0, "reported_minutes": 0, "pending_seconds": 0}


def test_running_time_is_counted_and_reported(api):
    clock = api.emulator.for_account(api.account_id).clock
    clock.freeze()  # so that this test may take as long as it likes
    api.sandbox(timeout=10**5)
    clock.advance(130)
    found = usage(api)
    assert found["pending_seconds"] == 130
    assert (found["compute_minutes"], found["reported_minutes"]) == (2, 0)
    assert "last_reported_at" not in found
    clock.advance(3600)
    found = usage(api)
    assert (found["compute_minutes"], found["reported_minutes"]) == (62, 62)
    assert found["pending_seconds"] == 10
    assert moment(found["last_reported_at"]) == clock.now()
    clock.advance(100)
    later = usage(api)
    assert (later["compute_minutes"], later["reported_minutes"]) == (63, 62)
    assert later["pending_seconds"] == 110
    assert later["last_reported_at"] == found["last_reported_at"]


def test_sandboxes_add_up_whatever_their_size_and_pauses_do_not(timed):
    api, clock = timed
    boxes = [api.sandbox(timeout=10**5), api.sandbox(timeout=10**5, cpus=8, memory_mb=8192)]
    clock.advance(600)
    assert usage(api)["compute_minutes"] == 20
    api.post(f"/sandboxes/{boxes[0]}/pause")
    clock.advance(600)
    assert usage(api)["compute_minutes"] == 30
    api.post(f"/sandboxes/{boxes[0]}/resume")
    clock.advance(600)
    assert usage(api)["compute_minutes"] == 50


def test_what_a_destroyed_sandbox_ran_is_still_counted(timed):
    api, clock = timed
    box = api.sandbox(timeout=10**5)
    clock.advance(600)
    api.delete(f"/sandboxes/{box}")
    clock.advance(600)
    assert usage(api)["compute_minutes"] == 10
    api.sandbox(timeout=10**5)
    clock.advance(600)
    assert usage(api)["compute_minutes"] == 20


def test_another_accounts_sandboxes_are_not_counted(timed, new_api):
    api, clock = timed
    api.sandbox(timeout=10**5)
    clock.advance(600)
    assert usage(new_api(api.emulator))["compute_minutes"] == 0


# --- who may


def test_a_read_only_key_looks_and_changes_nothing(api):
    key = api.post("/account/keys", json={"name": "r", "scope": "read_only"}).json()["key"]
    with Api(api.emulator, key) as reader:
        assert reader.get("/billing/subscription").status_code == 200
        assert reader.get("/billing/usage").status_code == 200
        for path in ("checkout", "portal", "cancel"):
            assert_problem(reader.post(f"/billing/{path}", json={"plan_id": "pro"}), 403, code="read_only_key")
