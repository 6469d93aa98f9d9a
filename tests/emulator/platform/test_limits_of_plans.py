"""Plans: rates, numbers of sandboxes and keys. Off unless a tier is chosen."""

import contextlib
import functools

import pytest
from emulator_testing import Api, FakeClock, assert_problem

from caged.emulator import Emulator


@pytest.fixture(scope="module")
def emulator(process_emulator):
    """Nothing here depends on the isolation."""
    return process_emulator


TIERS = [("free", 60, 2, 3600), ("pro", 300, 10, 6 * 3600), ("team", 1000, 50, 24 * 3600)]


def rate(response):
    return tuple(int(response.headers[f"x-ratelimit-{name}"]) for name in ("limit", "remaining", "reset"))


@pytest.fixture(scope="module")
def emulators():
    """The emulator of a tier, started when it is first needed."""
    with contextlib.ExitStack() as running:
        yield functools.cache(lambda tier: running.enter_context(Emulator(tier=tier, isolation="process")))


@pytest.fixture
def limited(emulators, new_api):
    """A new account of a tier, and its clock."""

    def make(tier):
        api = new_api(emulators(tier))
        clock = FakeClock(api.emulator, api.account_id)
        clock.begin_minute()
        return api, clock

    return make


@pytest.mark.parametrize(("tier", "requests", "_sandboxes", "_idle"), TIERS)
def test_a_tier_names_itself_and_its_rate(limited, tier, requests, _sandboxes, _idle):
    api, _clock = limited(tier)
    response = api.get("/account")
    assert response.json()["tier"] == tier
    assert rate(response)[:2] == (requests, requests - 1)
    assert rate(api.get("/account"))[1] == requests - 2


def test_the_reset_is_the_end_of_the_minute(limited):
    api, clock = limited("free")
    now = clock.now
    assert 0 < rate(api.get("/account"))[2] - now <= 61
    assert rate(api.get("/account"))[2] % 60 == 0


def test_a_used_up_minute_is_a_429_until_the_next(limited):
    api, clock = limited("free")
    for left in range(59, -1, -1):
        response = api.get("/account")
        assert (response.status_code, rate(response)[1]) == (200, left)
    response = api.get("/account")
    assert_problem(response, 429, "60 requests per minute")
    assert rate(response)[1] == 0
    assert 1 <= int(response.headers["retry-after"]) <= 60
    clock.offset += 60
    assert api.get("/account").status_code == 200


def test_rate_limit_is_counted_per_account(limited, new_api):
    api, _clock = limited("free")
    other = new_api(api.emulator)
    for _ in range(60):
        api.get("/account")
    assert api.get("/account").status_code == 429
    assert other.get("/account").status_code == 200


def test_two_keys_of_an_account_share_its_rate(limited):
    api, _clock = limited("pro")
    key = api.post("/account/keys", json={"name": "second"}).json()["key"]
    with Api(api.emulator, key) as second:
        assert rate(second.get("/account"))[1] == 298


def test_rejected_key_does_not_use_up_a_rate_limit(limited):
    api, _clock = limited("free")
    for _ in range(70):
        assert api.get("/account", headers={"Authorization": "Bearer wrong"}).status_code == 401
    assert rate(api.get("/account"))[1] == 59


def test_a_request_that_is_refused_counts_too(limited):
    api, _clock = limited("free")
    api.post("/sandboxes", content=b"{")
    assert rate(api.get("/account"))[1] == 58


def test_without_a_tier_nothing_is_counted(api):
    assert {rate(api.get("/account"))[:2] for _ in range(5)} == {(1000, 1000)}


@pytest.mark.parametrize(("tier", "_requests", "sandboxes", "_idle"), TIERS[:2])
def test_one_sandbox_more_than_the_plan_has_is_refused(limited, tier, _requests, sandboxes, _idle):
    api, _clock = limited(tier)
    boxes = [api.sandbox() for _ in range(sandboxes)]
    response = api.post("/sandboxes", json={"template": "minimal"})
    assert_problem(response, 403, f"{sandboxes} sandboxes", "plan_limit_reached")
    assert response.json()["reason"]["action"] == "upgrade_plan"
    assert len(api.get("/sandboxes").json()) == sandboxes
    api.post(f"/sandboxes/{boxes[0]}/pause")  # a paused one still counts
    assert api.post("/sandboxes", json={"template": "minimal"}).status_code == 403
    api.delete(f"/sandboxes/{boxes[0]}")
    assert api.post("/sandboxes", json={"template": "minimal"}).status_code == 201


def test_a_sandbox_in_error_does_not_count(limited):
    api, _clock = limited("free")
    for _ in range(3):
        assert api.post("/sandboxes", json={"template": "minimal", "init_script": "exit 1"}).status_code == 201
    assert api.sandbox()


def test_sandboxes_are_unlimited_without_tier(api):
    assert len({api.sandbox() for _ in range(12)}) == 12


def test_the_free_plan_has_one_key(limited):
    api, _clock = limited("free")
    response = api.post("/account/keys", json={"name": "second", "scope": "full"})
    assert_problem(response, 403, "1 API keys", "plan_limit_reached")
    assert response.json()["reason"]["action"] == "upgrade_plan"
    assert len(api.get("/account/keys").json()) == 1


def test_other_plans_have_any_number_of_keys(limited):
    api, _clock = limited("pro")
    for number in range(5):
        assert api.post("/account/keys", json={"name": f"k{number}"}).status_code == 201


@pytest.mark.parametrize(("tier", "_requests", "_sandboxes", "idle"), TIERS)
def test_a_longer_timeout_than_the_plans_is_cut(limited, tier, _requests, _sandboxes, idle):
    api, _clock = limited(tier)
    assert api.post("/sandboxes", json={"template": "minimal", "timeout": idle + 1}).json()["timeout"] == idle
