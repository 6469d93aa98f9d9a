"""The order of a request's handlers: each test has a request that two of them would end, and the earlier one does."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from caged.emulator import Emulator
from caged.emulator.wire import dispatch
from caged.emulator.wire.request_path import journal


@pytest.fixture(scope="module")
def emulator(process_emulator: Emulator) -> Emulator:
    """Nothing here depends on the isolation."""
    return process_emulator


#: Larger than any body may be.
TOO_LARGE = b'"' + b"x" * (11 * 1024**2) + b'"'


@pytest.fixture
def read_only(api) -> httpx.Client:
    key = api.post("/account/keys", json={"name": "reader", "scope": "read_only"}).json()["key"]
    with httpx.Client(
        base_url=f"{api.emulator.base_url}/v1",
        headers={"Authorization": f"Bearer {key}"},
        trust_env=False,
        verify=False,
        timeout=60,
    ) as client:
        yield client


def records(api, **which: Any):
    return api.emulator.journal.requests(account=api.account_id, **which)


def test_each_list_begins_or_ends_with_the_journal():
    assert dispatch.API_REQUEST[0] is journal.begin
    assert dispatch.API_RESPONSE[-1] is journal.finish
    assert dispatch.SOCKET_REQUEST[0] is journal.begin
    assert not {journal.begin, journal.finish} & {*dispatch.ADMIN_REQUEST, *dispatch.ADMIN_RESPONSE}


def test_request_without_key_is_in_the_journal(api):
    path = f"/v1/sandboxes/cage_nokey{api.account_id}"
    assert httpx.get(f"{api.emulator.base_url}{path}", trust_env=False, verify=False, timeout=60).status_code == 401
    (record,) = [found for found in api.emulator.journal.requests(account="*") if found.path == path]
    assert (record.status, record.account) == (401, "")


def test_request_beyond_the_rate_limit_takes_no_fault(own_emulator, new_api):
    api = new_api(own_emulator(tier="free", isolation="process"))
    api.emulator.clock.freeze()  # the limit is one for each minute
    limit = int(api.get("/account").headers["X-RateLimit-Limit"])
    fault = api.emulator.faults.add("account.get", status=507, account=api.account_id, optional=True)
    for _ in range(limit):
        last = api.get("/account/keys")
    assert last.status_code == 429
    assert last.headers["X-RateLimit-Remaining"] == "0"
    assert api.get("/account").status_code == 429
    assert fault.triggered == 0


def test_change_by_read_only_key_is_rejected_before_its_body_is_read(api, read_only):
    answer = read_only.post("/account/keys", content=b"not JSON")
    assert (answer.status_code, answer.json()["reason"]["code"]) == (403, "read_only_key")
    assert records(api, operation="account.create_key")[-1].request == ""


def test_change_by_read_only_key_takes_no_fault(api, read_only):
    fault = api.emulator.faults.add("account.create_key", status=507, account=api.account_id, optional=True)
    assert read_only.post("/account/keys", json={"name": "x"}).status_code == 403
    assert fault.triggered == 0


def test_body_that_is_too_large_is_rejected_before_a_fault_is_taken(api):
    fault = api.emulator.faults.add("account.create_key", status=507, account=api.account_id, optional=True)
    assert api.post("/account/keys", content=TOO_LARGE).status_code == 413
    assert fault.triggered == 0


def test_fault_answers_a_body_that_cannot_be_parsed(api):
    with api.emulator.faults.add("account.create_key", status=507, account=api.account_id):
        assert api.post("/account/keys", content=b"not JSON").status_code == 507
    assert api.post("/account/keys", content=b"not JSON").status_code == 400


def test_fault_drops_the_error_of_an_operation_and_the_journal_has_it(api):
    with api.emulator.faults.add("sandboxes.get", drop="after", account=api.account_id):
        with pytest.raises(httpx.RemoteProtocolError):
            api.get("/sandboxes/cage_missing")
    assert records(api, operation="sandboxes.get")[-1].status == 404


def test_fault_of_an_unknown_sandbox_is_not_taken_by_a_handshake(api):
    fault = api.emulator.faults.add("sandboxes.terminal", status=507, account=api.account_id, optional=True)

    async def handshake() -> int:
        url = api.emulator.base_url.replace("http", "ws", 1)
        try:
            async with connect(f"{url}/v1/sandboxes/cage_missing/terminal?token={api.key}", proxy=None):
                return 101
        except InvalidStatus as error:
            return error.response.status_code

    assert asyncio.run(handshake()) == 404
    assert fault.triggered == 0
    assert records(api, operation="sandboxes.terminal")[-1].status == 404


def test_admin_call_is_not_in_the_journal_and_has_no_fault(own_emulator):
    emulator: Emulator = own_emulator(isolation="process")
    headers = {"Authorization": f"Bearer {emulator.admin_key}"}
    with emulator.faults.add(status=507, account="*", optional=True) as fault:
        answer = httpx.get(
            f"{emulator.base_url}/_emulator/faults", headers=headers, trust_env=False, verify=False, timeout=60
        )
        assert answer.status_code == 200
        assert fault.triggered == 0
    assert emulator.journal.requests(account="*") == []


@pytest.mark.parametrize(
    ("query", "body", "status"),
    [
        pytest.param("?unknown=1", b"{}", 401, id="key before query"),
        pytest.param("?account=missing", b"{}", 401, id="key before account"),
    ],
)
def test_admin_call_checks_its_key_first(emulator, query, body, status):
    url = f"{emulator.base_url}/_emulator/faults{query}"
    assert httpx.post(url, content=body, trust_env=False, verify=False, timeout=60).status_code == status


@pytest.mark.parametrize(
    ("query", "status"),
    [
        pytest.param("?unknown=1&account=missing", 400, id="query before account"),
        pytest.param("?account=missing", 404, id="account before body"),
    ],
)
def test_admin_call_checks_query_then_account_then_body(emulator, query, status):
    url = f"{emulator.base_url}/_emulator/faults{query}"
    headers = {"Authorization": f"Bearer {emulator.admin_key}"}
    assert (
        httpx.post(url, content=b"not JSON", headers=headers, trust_env=False, verify=False, timeout=60).status_code
        == status
    )
