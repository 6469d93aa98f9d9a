"""Signing up and logging in, dashboard sessions, and the login of the command line client."""

import re
from datetime import datetime, timezone

import httpx
import pytest
from emulator_testing import Api, FakeClock, assert_problem
from internals import call_on_loop, platform_of


@pytest.fixture(scope="module")
def emulator(process_emulator):
    """Nothing here depends on the isolation."""
    return process_emulator


PASSWORD = "correct horse"


@pytest.fixture
def web(emulator):
    """The emulator as a browser uses it, without a key; accounts made with it are gone afterwards."""
    made = []

    class Web(httpx.Client):
        def signup(self, email, password=PASSWORD, **fields):
            answer = self.post("/signup", json={"email": email, "password": password, **fields})
            if answer.status_code == 201:
                made.append(answer.json()["account"]["id"])
            return answer

        def login(self, email, password=PASSWORD):
            return self.post("/login", json={"email": email, "password": password})

    with Web(
        base_url=emulator.base_url, trust_env=False, verify=False, headers={"User-Agent": "Browser/1.0"}
    ) as client:
        client.emulator = emulator
        yield client
    for account_id in made:
        emulator.remove_account(account_id)


@pytest.fixture
def dashboard(web):
    """Makes a client of /v1 that has a session's token for a key."""
    opened = []

    def make(answer):
        opened.append(Api(web.emulator, answer.json()["token"], answer.json()["account"]["id"]))
        return opened[-1]

    yield make
    for client in opened:
        client.close()


# --- signing up and logging in


def test_signing_up_makes_an_account_without_keys_and_logs_in(web, dashboard):
    answer = web.signup("ann@example.com", name="Ann")
    assert answer.status_code == 201
    found = answer.json()
    assert set(found) == {"token", "expires_at", "account"}
    api = dashboard(answer)
    assert api.get("/account").json() == found["account"]
    assert (found["account"]["email"], found["account"]["name"]) == ("ann@example.com", "Ann")
    assert api.get("/account/keys").json() == []
    assert api.get("/sandboxes").json() == []


def test_the_token_does_what_a_full_key_does(web, dashboard):
    api = dashboard(web.signup("builder@example.com"))
    box = api.sandbox()
    assert api.output(box, "echo hi") == "hi\n"
    key = api.post("/account/keys", json={"name": "ci"}).json()["key"]
    with Api(web.emulator, key) as second:
        assert [found["id"] for found in second.get("/sandboxes").json()] == [box]


def test_logging_in_opens_another_session_of_the_same_account(web, dashboard):
    account = web.signup("bob@example.com").json()["account"]
    answer = web.login(" Bob@Example.com ")
    assert answer.status_code == 200
    assert answer.json()["account"] == account
    assert len(dashboard(answer).get("/account/sessions").json()) == 2


def test_the_name_is_the_addresss_when_none_is_given(web):
    assert web.signup("carol@example.com").json()["account"]["name"] == "carol"


@pytest.mark.parametrize(
    ("email", "password"),
    [("dora@example.com", "wrong horse"), ("dora@example.com", ""), ("unknown@example.com", PASSWORD), ("", "")],
)
def test_a_wrong_address_or_password_is_refused_alike(web, email, password):
    web.signup("dora@example.com")
    assert_problem(web.login(email, password), 401, "wrong email or password")


def test_the_longest_password_is_not_a_prefix(web):
    assert web.signup("finn@example.com", "x" * 1024).status_code == 201
    assert_problem(web.login("finn@example.com", "x" * 1025), 401)
    assert web.login("finn@example.com", "x" * 1024).status_code == 200


def test_an_account_without_a_password_cannot_be_logged_in_to(web, api):
    email = api.get("/account").json()["email"]
    for password in ("", PASSWORD):
        assert_problem(web.login(email, password), 401)


def test_an_address_signs_up_once(web):
    assert web.signup("eve@example.com").status_code == 201
    assert_problem(web.signup("EVE@example.com", "another horse"), 409, "log in instead")
    assert web.login("eve@example.com").status_code == 200


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "email"),
        ({"email": "f@example.com"}, "password"),
        ({"password": PASSWORD}, "email"),
        ({"email": "f@example.com", "password": "1234567"}, "password"),
        ({"email": "f@example.com", "password": "x" * 1025}, "password"),
        ({"email": "f@example.com", "password": 12345678}, "password"),
        ({"email": "no address", "password": PASSWORD}, "email"),
        ({"email": "@", "password": PASSWORD}, "email"),
        ({"email": f"{'f' * 250}@example.com", "password": PASSWORD}, "email"),
        ({"email": "f@example.com", "password": PASSWORD, "name": 1}, "name"),
    ],
)
def test_a_signup_that_cannot_be_is_a_400_naming_the_field(web, body, field):
    assert_problem(web.post("/signup", json=body), 400, field)


def test_eight_characters_are_a_password(web):
    assert web.signup("gus@example.com", "12345678").status_code == 201


def test_a_foreign_page_can_neither_sign_up_nor_log_in(web):
    for path in ("/signup", "/login", "/v1/auth/device/code", "/v1/auth/device/token"):
        answer = web.post(path, json={}, headers={"Origin": "https://evil.example"})
        assert_problem(answer, 403, "Origin")


# --- dashboard sessions


def test_an_api_key_is_not_a_session(api):
    assert api.get("/account/sessions").json() == []


def test_session_reports_who_logged_in_and_until_when(web, dashboard):
    answer = web.signup("hal@example.com")
    (session,) = dashboard(answer).get("/account/sessions").json()
    assert set(session) == {"id", "user_agent", "ip", "expires_at", "created_at"}
    assert re.fullmatch(r"login_[a-z0-9]{8}", session["id"])
    assert (session["user_agent"], session["ip"]) == ("Browser/1.0", "127.0.0.1")
    assert session["expires_at"] == answer.json()["expires_at"]
    assert answer.json()["token"] not in dashboard(answer).get("/account/sessions").text


def test_a_revoked_session_is_logged_out(web, dashboard):
    first = dashboard(web.signup("ida@example.com"))
    second = dashboard(web.login("ida@example.com"))
    one, two = (session["id"] for session in first.get("/account/sessions").json())
    answer = second.delete(f"/account/sessions/{one}")
    assert (answer.status_code, answer.content) == (204, b"")
    assert_problem(first.get("/account"), 401)
    assert [session["id"] for session in second.get("/account/sessions").json()] == [two]
    assert_problem(second.delete(f"/account/sessions/{one}"), 404, "dashboard session not found")
    assert second.delete(f"/account/sessions/{two}").status_code == 204
    assert_problem(second.get("/account"), 401)


def test_another_accounts_session_is_not_found(web, dashboard, api):
    owner = dashboard(web.signup("jim@example.com"))
    (session,) = owner.get("/account/sessions").json()
    assert_problem(api.delete(f"/account/sessions/{session['id']}"), 404)
    assert owner.get("/account").status_code == 200


def test_a_session_expires_after_a_week(own_emulator):
    emulator = own_emulator(isolation="process")
    clock = FakeClock(emulator)
    body = {"email": "kim@example.com", "password": PASSWORD}
    answer = httpx.post(f"{emulator.base_url}/signup", json=body, trust_env=False, verify=False, timeout=60).json()
    expires = datetime.fromisoformat(answer["expires_at"].replace("Z", "+00:00"))
    assert (expires - datetime.now(timezone.utc)).total_seconds() == pytest.approx(7 * 24 * 3600, abs=30)
    with Api(emulator, answer["token"]) as api:
        clock.offset = 7 * 24 * 3600 - 60
        assert len(api.get("/account/sessions").json()) == 1
        clock.offset += 120
        assert_problem(api.get("/account"), 401, "log in again")
        assert_problem(api.get("/account"), 401)


def test_a_deleted_account_is_logged_out(web, dashboard):
    api = dashboard(web.signup("leo@example.com"))
    web.emulator.remove_account(api.account_id)
    assert_problem(api.get("/account"), 401)
    assert_problem(web.login("leo@example.com"), 401)


# --- device login


def code(web):
    answer = web.post("/v1/auth/device/code", json={})
    assert answer.status_code == 200, answer.text
    return answer.json()


def token(web, **body):
    return web.post("/v1/auth/device/token", json=body)


def assert_word(answer, word):
    """What the command line client reads of a refusal."""
    body = answer.json()
    assert (answer.status_code, body["error"]) == (400, word)
    assert " " in body["detail"]  # and a sentence for people


def test_a_device_login_ends_with_a_working_key_of_the_first_account(web, emulator):
    begun = code(web)
    assert set(begun) == {"device_code", "user_code", "verification_url", "expires_in", "interval"}
    assert re.fullmatch(r"[A-Z]{4}-[A-Z]{4}", begun["user_code"])
    assert begun["expires_in"] > begun["interval"] >= 3
    answer = token(web, device_code=begun["device_code"])
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert set(found) == {"access_token", "token_type", "account_id", "email"}
    with Api(emulator, found["access_token"]) as cli, Api(emulator, emulator.api_key) as first:
        assert cli.get("/account").json() == first.get("/account").json()
        assert (found["account_id"], found["email"]) == tuple(cli.get("/account").json()[k] for k in ("id", "email"))
        box = cli.sandbox()
        assert cli.delete(f"/sandboxes/{box}").status_code == 204


def test_the_client_sends_neither_key_nor_json_header(web):
    answer = web.post("/v1/auth/device/code", headers={"Content-Type": "application/json"})
    assert answer.status_code == 200


def test_log_reports_the_login_without_the_key(web, emulator):
    begun = code(web)
    secret = token(web, device_code=begun["device_code"]).json()["access_token"]
    lines = [line for line in emulator.log_tail(1000) if begun["user_code"] in line]
    assert "from this machine: approved for account acct_" in lines[0]
    assert "has the API key of account acct_" in lines[1]
    assert secret not in "\n".join(emulator.log_tail(1000))


def test_verification_page_needs_no_credential(web):
    begun = code(web)
    page = web.get(begun["verification_url"], params={"code": begun["user_code"]})
    assert (page.status_code, page.headers["content-type"]) == (200, "text/plain; charset=utf-8")
    assert f"{begun['user_code']} is approved" in page.text
    for other in ("?code=XXXX-XXXX", "?code=", "", "?code=%00%ff%0A"):
        answer = web.get(f"{begun['verification_url']}{other}")
        assert answer.status_code == 200
        assert "unknown or has expired" in answer.text


def test_a_code_is_good_once(web):
    begun = code(web)
    assert token(web, device_code=begun["device_code"]).status_code == 200
    assert_word(token(web, device_code=begun["device_code"]), "expired_token")


def test_a_code_expires(own_emulator):
    emulator = own_emulator(isolation="process")
    clock = FakeClock(emulator)
    with httpx.Client(base_url=emulator.base_url, trust_env=False, verify=False, timeout=60) as web:
        begun = code(web)
        clock.offset = begun["expires_in"] + 1
        assert_word(token(web, device_code=begun["device_code"]), "expired_token")
        assert "expired" in web.get("/device", params={"code": begun["user_code"]}).text


@pytest.mark.parametrize(
    ("body", "word"),
    [({"device_code": "x"}, "invalid_grant"), ({}, "invalid_request"), ({"device_code": ""}, "invalid_request")],
)
def test_a_code_that_was_never_made_is_refused(web, body, word):
    assert_word(token(web, **body), word)


def test_a_user_code_is_not_a_device_code(web):
    assert_word(token(web, device_code=code(web)["user_code"]), "invalid_grant")


def test_a_code_of_another_machine_is_denied(web, emulator):
    from caged.emulator.app import build

    async def ask():
        transport = httpx.ASGITransport(build(platform_of(emulator)), client=("192.0.2.7", 4711))
        async with httpx.AsyncClient(transport=transport, base_url=emulator.base_url) as far:
            return (await far.post("/v1/auth/device/code", json={})).json()

    begun = call_on_loop(emulator, ask())
    assert_word(token(web, device_code=begun["device_code"]), "access_denied")
    assert "was denied" in web.get("/device", params={"code": begun["user_code"]}).text


def test_a_revoked_first_key_is_replaced(own_emulator):
    emulator = own_emulator(tier="free", isolation="process")
    with (
        Api(emulator, emulator.api_key) as first,
        httpx.Client(base_url=emulator.base_url, trust_env=False, verify=False, timeout=60) as web,
    ):
        (key,) = first.get("/account/keys").json()
        first.delete(f"/account/keys/{key['id']}")
        found = token(web, device_code=code(web)["device_code"]).json()
        with Api(emulator, found["access_token"]) as cli:
            assert cli.get("/account").json()["id"] == found["account_id"]


def test_login_never_gets_a_read_only_key(own_emulator):
    emulator = own_emulator(isolation="process")
    with (
        Api(emulator, emulator.api_key) as first,
        httpx.Client(base_url=emulator.base_url, trust_env=False, verify=False, timeout=60) as web,
    ):
        (key,) = first.get("/account/keys").json()
        reader = first.post("/account/keys", json={"name": "r", "scope": "read_only"}).json()["key"]
        first.delete(f"/account/keys/{key['id']}")
        assert token(web, device_code=code(web)["device_code"]).json()["access_token"] != reader
