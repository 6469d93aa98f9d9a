"""Which calls a fault is for, when it triggers, and what is said of one that never did or makes no sense."""

from __future__ import annotations

import httpx
import pytest
from cases import each

from caged import Caged, CagedNotFoundError, CagedServerError
from caged.emulator import Emulator, EmulatorError


def statuses(api, count, path="/v1/sandboxes"):
    return [api.get(path).status_code for _ in range(count)]


# --- which calls


@pytest.mark.parametrize(
    ("which", "listing", "reading"),
    [
        ({"operation": "sandboxes.list"}, 503, 200),
        ({"operation": "sandboxes.*"}, 503, 503),
        ({"operation": "*.get"}, 200, 503),
        ({"method": "get"}, 503, 503),
        ({"method": "DELETE"}, 200, 200),
        ({"path": "/v1/sandboxes"}, 503, 200),
        ({"path": "/v1/sandboxes/*"}, 200, 503),
        ({"path": "*"}, 503, 503),
        ({"path": "/v1/sandboxes*", "method": "PUT"}, 200, 200),
        ({"path": "/v1/sandboxes*", "operation": "sandboxes.get"}, 200, 503),
        ({}, 503, 503),
    ],
)
def test_all_that_is_given_has_to_fit(double, api, box, which, listing, reading):
    double.faults.add(**which, status=503)
    assert api.get("/v1/sandboxes").status_code == listing
    assert api.get(f"/v1/sandboxes/{box}").status_code == reading


def test_a_fault_may_be_of_one_sandbox(double, client, box):
    other_box = client.sandboxes.create(template="minimal").id
    double.faults.add("sandboxes.exec", sandbox=box, unreachable=True)
    assert client.sandboxes.exec(other_box, "echo here").output == "here\n"
    assert client.sandboxes.exec(box, "echo here").error == f"sandbox {box} cannot be reached"
    assert [fault.triggered for fault in double.faults.list()] == [1]


def test_calls_of_all_resources_have_the_names_of_the_sdk(double, client, box):
    for operation, act in {
        "files.write": lambda: client.files.write(box, "a", "x"),
        "files.list": lambda: client.files.list(box),
        "snapshots.create": lambda: client.snapshots.create(box),
        "account.get": client.account.get,
        "alerts.list": client.alerts.list,
        "billing.get_usage": client.billing.get_usage,
        "sessions.list": client.sessions.list,
    }.items():
        with double.faults.add(operation, status=500, times=1) as fault:
            with pytest.raises(CagedServerError, match=fault.id):
                act()


def test_fault_does_not_apply_to_another_account(either, emulator, account, other, api):
    either.faults.add(status=500)
    with emulator.client(other.api_key, max_retries=0) as elsewhere:
        assert elsewhere.sandboxes.list() == []
    assert api.get("/v1/sandboxes").status_code == 500
    assert either.faults.list(account=other.id) == []
    assert [fault.account for fault in either.faults.list()] == [account.id]


def test_fault_of_all_accounts_applies_to_each_and_to_calls_without_a_key(own_emulator):
    emulator = own_emulator()
    account = emulator.create_account()
    with emulator.faults.add(status=503, account="*") as fault:
        for key in (emulator.api_key, account.api_key):
            with emulator.client(key, max_retries=0) as client, pytest.raises(CagedServerError):
                client.account.get()
        assert httpx.get(f"{emulator.base_url}/healthz", trust_env=False, verify=False, timeout=60).status_code == 503
        assert fault.triggered == 3
        assert [one.account for one in emulator.faults.list(account="*")] == ["*"]
    assert emulator.faults.list(account="*") == []


def test_calls_that_are_refused_for_their_key_meet_no_fault(double, emulator, api):
    fault = double.faults.add(status=503)
    assert api.get("/v1/sandboxes", headers={"Authorization": "Bearer caged_sk_unknown"}).status_code == 401
    assert fault.info.seen == 0


def test_the_emulators_own_calls_meet_none(double, admin):
    double.faults.add(status=503)
    assert admin.get("/_emulator/faults").status_code == 200


# --- when


def test_after_and_times(double, api):
    fault = double.faults.add("sandboxes.list", status=503, after=2, times=3)
    assert statuses(api, 7) == [200, 200, 503, 503, 503, 200, 200]
    assert (fault.info.seen, fault.triggered) == (7, 3)


def test_the_first_that_fits_is_the_one_and_then_the_next(double, api):
    double.faults.add("sandboxes.list", status=500, times=1)
    double.faults.add("sandboxes.*", status=502, times=2)
    double.faults.add(status=504)
    assert statuses(api, 5) == [500, 502, 502, 504, 504]
    assert [(fault.seen, fault.triggered) for fault in double.faults.list()] == [(5, 1), (4, 2), (2, 2)]


def test_probability_is_repeatable_with_a_seed(own_emulator):
    def run(seed):
        emulator = own_emulator(seed=seed)
        emulator.faults.add("sandboxes.list", status=500, probability=0.5)
        with emulator.client(max_retries=0) as client:
            return [_fails(client) for _ in range(40)]

    first = run(7)
    assert first == run(7)
    assert first != run(8)
    assert 5 < sum(first) < 35


def _fails(client: Caged) -> bool:
    try:
        client.sandboxes.list()
    except CagedServerError:
        return True
    return False


def test_times_counts_what_triggered_not_what_was_spared_by_chance(own_emulator):
    emulator = own_emulator(seed=1)
    fault = emulator.faults.add("sandboxes.list", status=500, probability=0.3, times=2)
    with emulator.client(max_retries=0) as client:
        assert sum(_fails(client) for _ in range(40)) == 2
    assert fault.info.seen == 40


# --- its life


def test_a_with_statement_removes_the_fault(either, api):
    with either.faults.add(status=503) as fault:
        assert statuses(api, 1) == [503]
        assert either.faults.list()[0].id == fault.id
    assert statuses(api, 1) == [200]
    assert either.faults.list() == []


def test_fault_that_never_triggered_fails_and_says_what_it_was(either, api):
    with pytest.raises(AssertionError) as caught:
        with either.faults.add("files.read", method="GET", status=503, times=2) as fault:
            api.get("/v1/sandboxes")
    assert str(caught.value) == (
        f"a fault never triggered:\n  fault {fault.id} (operation='files.read', method='GET', status=503, times=2)"
        " (no request matched)\nremove it, correct what it matches, or add it with optional=True"
    )
    assert either.faults.list() == []


def test_one_that_was_spared_says_how_many_calls_fitted(double, api):
    with pytest.raises(AssertionError, match=r"after=3\) \(2 requests matched, all of them within `after`\)"):
        with double.faults.add("sandboxes.list", status=503, after=3):
            statuses(api, 2)


def test_optional_fault_may_stay_unused(either):
    with either.faults.add(status=503, optional=True):
        pass


def test_an_error_of_the_block_is_the_one_that_is_seen(double):
    with pytest.raises(KeyError, match="mine"):
        with double.faults.add(status=503):
            raise KeyError("mine")
    assert double.faults.list() == []


def test_one_that_was_removed_in_the_block_is_not_missed(double):
    with double.faults.add(status=503) as fault:
        fault.remove()
    with double.faults.add(status=503):
        double.faults.clear()
    with pytest.raises(EmulatorError, match=fault.id):
        fault.remove()


def test_clear_and_reset_are_of_one_account(either, emulator, other, api):
    either.faults.add(status=503)
    kept = emulator.faults.add(status=503, account=other.id)
    either.faults.clear()
    assert statuses(api, 1) == [200]
    either.faults.add(status=503)
    either.reset()
    assert statuses(api, 1) == [200]
    assert kept.triggered == 0


def test_journal_says_which_fault_triggered(double, api):
    fault = double.faults.add("sandboxes.list", status=503, after=1)
    statuses(api, 2)
    assert [(entry.status, entry.fault) for entry in double.journal] == [(200, ""), (503, fault.id)]
    assert str(double.journal[-1]).endswith(f"GET /v1/sandboxes -> 503 ({fault.id})")


def test_options_of_a_fault_can_be_read_back(either, account):
    fault = either.faults.add("sandboxes.exec", status=503, reason="busy", times=2)
    info = fault.info
    assert (info.id, info.account, info.seen, info.triggered, info.optional) == (fault.id, account.id, 0, 0, False)
    assert info.options == {"operation": "sandboxes.exec", "status": 503, "reason": "busy", "times": 2}
    assert str(info).endswith("triggered by 0 of 0 matching requests")


def test_method_of_a_fault_may_be_a_glob(double, client):
    with double.faults.add(method="P*", path="/v1/sandboxes", status=503) as fault:
        assert client.sandboxes.list() == []
        with pytest.raises(CagedServerError):
            client.sandboxes.create(template="minimal")
        assert (fault.info.seen, fault.triggered) == (1, 1)


# --- what makes no sense

SENSELESS = [
    ({}, "the fault has no effect: give one of status, drop, truncate"),
    ({"status": 200}, "status: 200 is not an HTTP error"),
    ({"status": 599}, "status: 599 is not an HTTP error"),
    ({"status": 503, "times": 0}, "times: must be at least 1"),
    ({"status": 503, "after": -1}, "after: must be at least 0, not -"),
    ({"status": 503, "delay": -0.5}, "delay: must be at least 0, not -"),
    ({"truncate": -1}, "truncate: must be at least 0, not -"),
    ({"rate_limit": -1}, "rate_limit: must be at least 0, not -"),
    ({"status": 503, "retry_after": -1}, "retry_after: must be at least 0, not -"),
    ({"status": 503, "probability": 0}, "probability: must be above 0"),
    ({"status": 503, "probability": 1.5}, "probability: must be above 0 and at most 1"),
    ({"status": 503, "drop": "before"}, "drop: cannot be combined with status; add one fault for each"),
    ({"hang": True, "truncate": 3}, "hang: cannot be combined with truncate"),
    ({"rate_limit": 1, "unreachable": True}, "rate_limit: cannot be combined with unreachable"),
    ({"outcome": "dies", "close_socket": 4000}, "outcome: cannot be combined with close_socket"),
    ({"drop": "before", "reason": "busy"}, "reason: needs status"),
    ({"delay": 1, "body": "x"}, "body: needs status"),
    ({"rate_limit": 1, "retry_after": 1}, "retry_after: needs status"),
    ({"close_socket": 999}, "close_socket: 999 cannot be sent"),
    ({"close_socket": 1006}, "close_socket: 1006 cannot be sent; use 1000 to 1003"),
    ({"close_socket": 2000}, "close_socket: 2000 cannot be sent"),
    ({"close_socket": 5000}, "close_socket: 5000 cannot be sent"),
    ({"close_socket": 4000, "operation": "sandboxes.exec"}, "close_socket: sandboxes.exec is not a WebSocket"),
    ({"unreachable": True, "operation": "files.read"}, "unreachable: only exec answers so"),
    ({"outcome": "error", "operation": "snapshots.create"}, "outcome: 'error' applies to sandboxes.create, not"),
    ({"outcome": "failed", "operation": "sandboxes.create"}, "outcome: 'failed' applies to snapshots.create"),
    ({"outcome": "dies", "operation": "files.read"}, "outcome: 'dies' applies to sandboxes.exec, sandboxes.terminal"),
    ({"status": 503, "operation": "sandboxes.exek"}, "'sandboxes.exek' is not an operation of the API; did you mean"),
    ({"status": 503, "operation": "nonsense"}, "'nonsense' is not an operation of the API; "),
    ({"status": 503, "path": "v1/sandboxes"}, "path: 'v1/sandboxes' matches nothing; a path begins with a slash"),
]


@each(("options", "text"), SENSELESS)
def test_what_makes_no_sense_is_refused(double, admin, options, text):
    with pytest.raises(ValueError) as caught:  # noqa: PT011  the text is looked at below
        double.faults.add(**options)
    assert text in str(caught.value)
    answer = admin.post("/_emulator/faults", json=options)
    assert answer.status_code == 400
    assert text in answer.json()["detail"]
    assert double.faults.list() == []


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"status": "503"}, "status: must be a whole number, not '503'"),
        ({"drop": "sometimes"}, "drop: must be one of 'before', 'after', 'mid-body', not 'sometimes'"),
        ({"outcome": "explodes"}, "outcome: must be one of 'error', 'failed', 'dies', not 'explodes'"),
        ({"stauts": 503}, "stauts: unknown; known are operation, method, path"),
        ([], "body: must be an object, not []"),
    ],
)
def test_what_is_not_an_option_is_refused(admin, body, text):
    answer = admin.post("/_emulator/faults", json=body)
    assert answer.status_code == 400
    assert text in answer.json()["detail"]


def test_deletion_of_an_account_removes_its_faults(own_emulator):
    emulator: Emulator = own_emulator()
    account = emulator.create_account()
    fault = emulator.faults.add(status=503, account=account.id)
    emulator.remove_account(account.id)
    with pytest.raises(EmulatorError, match=f"fault not found: {fault.id}"):
        _ = fault.info
    with pytest.raises(EmulatorError, match=f"account not found: {account.id}"):
        emulator.faults.add(status=503, account=account.id)
    with emulator.client() as client, pytest.raises(CagedNotFoundError):
        client.sandboxes.get("cage_unknown")
