"""The account and its API keys."""

import re

import pytest
from emulator_testing import Api, assert_problem


def new_key(api, **body):
    return api.post("/account/keys", json={"name": "k", "scope": "full", **body})


def test_the_account_is_shown(api):
    account = api.get("/account").json()
    assert set(account) == {"id", "email", "name", "tier", "email_verified", "created_at"}
    assert account["id"] == api.account_id
    assert re.fullmatch(r"acct_[a-z0-9]{8}", account["id"])
    assert account["email_verified"] is True
    assert account["tier"] in ("free", "pro", "team")


def test_every_account_is_one_of_its_own(api, other):
    assert api.get("/account").json()["id"] != other.get("/account").json()["id"]
    assert api.key != other.key


@pytest.mark.parametrize("scope", ["full", "read_only"])
def test_a_new_key_shows_its_secret_once(api, scope):
    response = new_key(api, name="ci", scope=scope)
    assert response.status_code == 201
    made = response.json()
    assert set(made) == {"key", "info"}
    assert re.fullmatch(r"caged_sk_[a-z0-9]{32}", made["key"])
    assert made["info"]["prefix"] == made["key"][:11]
    assert (made["info"]["name"], made["info"]["scope"]) == ("ci", scope)
    assert re.fullmatch(r"key_[a-z0-9]{8}", made["info"]["id"])
    assert made["info"] in api.get("/account/keys").json()
    assert made["key"] not in api.get("/account/keys").text


def test_the_scope_is_full_when_none_is_given(api):
    assert api.post("/account/keys", json={"name": "k"}).json()["info"]["scope"] == "full"


def test_a_key_that_was_never_used_says_null(api):
    made = new_key(api).json()
    (info,) = [key for key in api.get("/account/keys").json() if key["id"] == made["info"]["id"]]
    assert info["last_used"] is None
    assert info["expires_at"] is None
    with Api(api.emulator, made["key"]) as second:
        second.get("/account")
    (info,) = [key for key in api.get("/account/keys").json() if key["id"] == made["info"]["id"]]
    assert info["last_used"] >= info["created_at"]


def test_a_new_key_opens_the_same_account(api, box):
    with Api(api.emulator, new_key(api).json()["key"]) as second:
        assert [found["id"] for found in second.get("/sandboxes").json()] == [box]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": "  "}, "name"),
        ({"name": None}, "name"),
        ({"name": 1}, "name"),
        ({"name": ["k"]}, "name"),
        ({"name": "k", "scope": "admin"}, "scope"),
        ({"name": "k", "scope": "read"}, "scope"),
        ({"name": "k", "scope": "FULL"}, "scope"),
        ({"name": "k", "scope": 1}, "scope"),
        ({"name": "k", "scope": ["full"]}, "scope"),
    ],
)
def test_a_key_that_cannot_be_is_a_400_naming_the_field(api, body, field):
    assert_problem(api.post("/account/keys", json=body), 400, field)
    assert len(api.get("/account/keys").json()) == 1


def test_a_revoked_key_leaves_the_list(api):
    made = new_key(api).json()["info"]["id"]
    response = api.delete(f"/account/keys/{made}")
    assert (response.status_code, response.content) == (204, b"")
    assert made not in [key["id"] for key in api.get("/account/keys").json()]
    assert_problem(api.delete(f"/account/keys/{made}"), 404, "not found")


def test_another_accounts_key_is_not_found(api, other):
    (key,) = api.get("/account/keys").json()
    assert_problem(other.delete(f"/account/keys/{key['id']}"), 404)
    assert api.get("/account").status_code == 200


def test_keys_differ(api):
    assert len({new_key(api).json()["key"] for _ in range(5)}) == 5


def test_a_key_given_to_the_emulator_is_the_first_accounts(own_emulator):
    emulator = own_emulator(api_key="my own key!")
    assert emulator.api_key == "my own key!"
    with Api(emulator, "my own key!") as api:
        assert api.get("/account").status_code == 200


def test_deletion_of_an_account_removes_everything_in_it(emulator, new_api):
    api = new_api(emulator)
    box = api.sandbox()
    snapshot = api.snapshot(box)
    emulator.remove_account(api.account_id)
    assert_problem(api.get("/account"), 401)
    assert not (emulator.run_dir / "sandboxes" / box).exists()
    assert not list((emulator.run_dir / "snapshots").glob(f"{snapshot}*"))
    emulator.remove_account(api.account_id)  # harmless


def test_health_needs_no_key(api):
    import httpx

    answer = httpx.get(f"{api.emulator.base_url}/healthz", trust_env=False, verify=False, timeout=60).json()
    assert answer["status"] == "ok"
    assert answer["isolation"] == api.emulator.isolation
