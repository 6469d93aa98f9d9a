"""Every call that is served, by who may make it: the list is the emulator's own, so that none is forgotten."""

import re

import httpx
import pytest
from emulator_testing import Api, FakeClock, assert_problem

from caged.emulator.wire.all_operations import all_operations


@pytest.fixture(scope="module")
def emulator(process_emulator):
    """Nothing here depends on the isolation."""
    return process_emulator


#: What needs no key, and why.
PUBLIC = {
    "health.get",
    "openapi.get",
    "auth.signup",
    "auth.login",
    "auth.device_code",
    "auth.device_token",
    "auth.device_page",
    "billing.checkout_page",  # as the next and the last one, its URL is a secret
    "billing.portal_page",
    "snapshots.content",
}
OPERATIONS = all_operations()
CALLS = [
    (found.method, re.sub(r"{[^}]+}", "x", found.path), found.name)
    for found in OPERATIONS
    if not found.public and not found.admin
]
ADMIN = [(found.method, re.sub(r"{[^}]+}", "x", found.path), found.name) for found in OPERATIONS if found.admin]
COMMON_HEADERS = {"x-request-id", "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"}


def test_only_these_are_public():
    assert {found.name for found in all_operations() if found.public} == PUBLIC


def test_every_other_call_needs_a_key(emulator):
    with httpx.Client(base_url=emulator.base_url, trust_env=False, verify=False, timeout=60) as client:
        for method, path, name in CALLS:
            for headers in ({}, {"Authorization": "Bearer caged_sk_wrong"}):
                answer = client.request(method, path, headers=headers)
                assert answer.status_code == 401, (name, method)
                assert_problem(answer, 401)
                assert set(answer.headers) >= COMMON_HEADERS, (name, method)


def test_the_emulators_own_calls_take_the_admin_key_alone(api):
    for method, path, name in ADMIN:
        url = f"{api.emulator.base_url}{path}"
        answer = api.request(method, url)
        assert answer.status_code == 401, (name, method)
        assert_problem(answer, 401, "not the admin key")
        assert_problem(api.request(method, url, headers={"Authorization": ""}), 401)


def test_admin_key_below_v1_is_refused(api):
    answer = api.get("/sandboxes", headers={"Authorization": f"Bearer {api.emulator.admin_key}"})
    assert_problem(answer, 401)


@pytest.fixture
def reader(api):
    """A client with a read-only key of the account."""
    key = api.post("/account/keys", json={"name": "r", "scope": "read_only"}).json()["key"]
    with Api(api.emulator, key) as client:
        yield client


def test_read_only_key_is_refused_by_every_call_that_is_not_a_get(reader):
    for method, path, name in CALLS:
        if method != "GET":
            answer = reader.request(method, f"{reader.emulator.base_url}{path}", json={})
            assert answer.status_code == 403, (name, method)
            assert_problem(answer, 403, "read-only", "read_only_key")


def test_read_only_key_may_make_every_get(reader):
    for method, path, name in CALLS:
        if method == "GET":
            answer = reader.request(method, f"{reader.emulator.base_url}{path}")
            assert answer.status_code in (200, 400, 404, 426, 501), (name, answer.text)


def test_limits_of_a_plan_are_those_of_the_account_for_every_key(own_emulator):
    """A dashboard session and the device login's key share the account's rate with its other keys."""
    emulator = own_emulator(tier="free", isolation="process")
    clock = FakeClock(emulator)
    clock.begin_minute()
    with httpx.Client(base_url=emulator.base_url, trust_env=False, verify=False, timeout=60) as web:
        signed = web.post("/signup", json={"email": "a@example.com", "password": "12345678"}).json()
    with Api(emulator, signed["token"]) as session:
        key = session.post("/account/keys", json={"name": "only"}).json()["key"]
        assert_problem(session.post("/account/keys", json={"name": "second"}), 403, "1 API keys", "plan_limit_reached")
        with Api(emulator, key) as api:
            assert [int(one.get("/account").headers["x-ratelimit-remaining"]) for one in (session, api)] == [57, 56]
