"""The emulator's own calls: who may make them, for which account; accounts, spending, and starting afresh."""

from __future__ import annotations

import httpx
import pytest
from cases import each
from internals import platform_of
from leftovers import until

from caged import CagedAuthError
from caged.emulator import EmulatorError
from caged.emulator.control_client.remote import RemoteEmulator
from caged.emulator.control_client.transport import AdminRequestError
from caged.emulator.wire.all_operations import all_operations

ADMIN = sorted((one.method, one.path.replace("{id}", "some_id")) for one in all_operations() if one.admin)

# --- who


@each(("method", "path"), ADMIN)
def test_admin_api_accepts_only_the_admin_key(emulator, account, method, path):
    with httpx.Client(base_url=emulator.base_url, trust_env=False, verify=False, timeout=60) as client:
        for key in (account.api_key, emulator.api_key, "x", emulator.admin_key[:-1], emulator.admin_key + "x", "\xe9"):
            refused = client.request(method, path, headers={"Authorization": f"Bearer {key}".encode("latin-1")})
            assert refused.status_code == 401, (key, refused.text)
            assert refused.headers["content-type"] == "application/problem+json"
        assert client.request(method, path).status_code == 401


def test_the_admin_key_opens_nothing_else(emulator):
    with emulator.client(emulator.admin_key) as client, pytest.raises(CagedAuthError):
        client.sandboxes.list()


def test_wrong_admin_key_is_an_error_that_says_so(emulator):
    with RemoteEmulator(emulator.base_url, "caged_adm_wrong") as stranger:
        with pytest.raises(EmulatorError, match="not the admin key; `caged-emulator serve` prints it"):
            stranger.clock.now()


def test_a_remote_emulator_that_is_not_there(own_emulator):
    emulator = own_emulator()
    with RemoteEmulator(emulator.base_url, emulator.admin_key) as remote:
        assert remote.api_key == emulator.api_key
        emulator.stop()
        message = r"the emulator at http://127.0.0.1:\d+/_emulator/? does not answer"
        with pytest.raises(EmulatorError, match=message) as caught:
            remote.clock.now()
        assert caught.value.__suppress_context__, "the report of a failed test shows no frames of the transport"


@pytest.mark.parametrize("missing", ["base_url", "admin_key"])
def test_a_remote_emulator_needs_to_know_where(monkeypatch, missing):
    monkeypatch.delenv("CAGED_EMULATOR_URL", raising=False)
    monkeypatch.delenv("CAGED_EMULATOR_ADMIN_KEY", raising=False)
    given = {"base_url": "http://127.0.0.1:1", "admin_key": "x"}
    del given[missing]
    with pytest.raises(EmulatorError, match=f"{missing}: is needed to reach an emulator; `caged-emulator env` prints"):
        RemoteEmulator(**given)


def test_a_remote_emulator_is_found_by_the_environment(monkeypatch, emulator):
    monkeypatch.setenv("CAGED_EMULATOR_URL", f"{emulator.base_url}/")
    monkeypatch.setenv("CAGED_EMULATOR_ADMIN_KEY", emulator.admin_key)
    with RemoteEmulator() as remote:
        assert remote.base_url == emulator.base_url
        assert remote.isolation == emulator.isolation
        assert remote.isolation_refused == emulator.isolation_refused
        assert remote.log_tail(3) == emulator.log_tail(3)


def test_what_cannot_travel_says_so(remote_emulator):
    message = r"a function needs an emulator in this process; use `Emulator\(\)` instead of `RemoteEmulator`"
    with pytest.raises(EmulatorError, match=message):
        remote_emulator._admin.local("a function")


# --- for which account


def test_unknown_keys_are_refused(admin):
    for path, body in (
        ("/clock/advance", {"weeks": 1}),
        ("/clock/freeze", {"until": 1.0}),
        ("/accounts", {"api_key": "mine"}),
        ("/faults", {"status": 503, "count": 1}),
    ):
        refused = admin.post(f"/_emulator{path}", json=body)
        assert refused.status_code == 400, refused.text
        (name,) = set(body) - {"status"}
        assert f"{name}: unknown; known are" in refused.json()["detail"]


def test_an_unknown_account_is_404(emulator):
    headers = {"Authorization": f"Bearer {emulator.admin_key}"}
    for method, path in ADMIN:
        refused = httpx.request(
            method,
            f"{emulator.base_url}{path}",
            params={"account": "acct_x"},
            headers=headers,
            trust_env=False,
            verify=False,
            timeout=60,
        )
        assert refused.status_code == 404, (method, path, refused.text)
        assert "account not found: acct_x" in refused.json()["detail"]


def test_without_a_name_it_is_the_first(own_emulator):
    emulator = own_emulator()
    first = emulator._admin.call("GET", "/accounts")[0]["id"]
    emulator.create_account()
    emulator.faults.add(status=503, operation="account.get")
    assert emulator.faults.list()[0].account == first
    with RemoteEmulator(emulator.base_url, emulator.admin_key, account="*") as remote:
        assert remote.faults.add(status=500).info.account == "*"
        assert [fault.account for fault in remote.faults.list()] == [first, "*"]
    assert [fault.account for fault in emulator.faults.list()] == [first, "*"]
    emulator.remove_account(first)
    emulator.faults.list()  # the next is the first now


# --- accounts


def test_accounts_are_made_seen_and_deleted(own_emulator):
    emulator = own_emulator()
    with RemoteEmulator(emulator.base_url, emulator.admin_key) as remote:
        made = remote.create_account("worker 1")
        with remote.client(made.api_key) as client:
            client.sandboxes.create(template="minimal")
            assert client.account.get().name == "worker 1"
            listed = {one["id"]: one for one in remote._admin.call("GET", "/accounts")}
            assert listed[made.id] == {
                "id": made.id,
                "name": "worker 1",
                "api_key": made.api_key,
                "sandboxes": 1,
                "snapshots": 0,
            }
            emulator.remove_account(made.id)
            with pytest.raises(CagedAuthError):
                client.account.get()
        emulator.remove_account(made.id)  # harmless
        with pytest.raises(ValueError, match="this call is about one account"):
            emulator.remove_account("*")
        assert len(remote._admin.call("GET", "/accounts")) == 1


def test_a_deleted_account_leaves_no_sandboxes(own_emulator):
    emulator = own_emulator()
    account = emulator.create_account()
    with emulator.client(account.api_key) as client:
        box = client.sandboxes.create(template="minimal").id
        client.snapshots.wait(client.snapshots.create(box).id)
    emulator.remove_account(account.id)
    store = platform_of(emulator).store
    assert (store.sandboxes, store.snapshots, list(store.keys)) == ({}, {}, [emulator.api_key])
    until(lambda: list((emulator.run_dir / "snapshots").iterdir()) == [])


def test_reset_restores_an_account_to_its_first_state(either, client):
    box = client.sandboxes.create(template="minimal", budget=1).id
    client.snapshots.wait(client.snapshots.create(box).id)
    either.spend(box, 0.9)
    either.clock.advance(days=3)
    either.faults.add(status=503, operation="billing.*")
    client.account.create_key("kept")
    assert client.alerts.list().alerts
    either.reset()
    assert client.sandboxes.list() == []
    assert client.alerts.list().alerts == []
    assert client.billing.get_usage().compute_minutes == 0
    assert client.sessions.list().data == []
    assert "kept" in [key.name for key in client.account.list_keys()]
    assert either.faults.list() == []
    assert len(either.journal) == 5, "only what came after it"
    assert client.sandboxes.create(template="minimal").status == "running"


def test_reset_of_all_accounts_destroys_all_sandboxes(own_emulator):
    emulator = own_emulator()
    clients = [emulator.client(key) for key in (emulator.api_key, emulator.create_account().api_key)]
    for client in clients:
        client.sandboxes.create(template="minimal")
    emulator.faults.add(status=503, account="*")
    emulator.reset(account="*")
    for client in clients:
        assert client.sandboxes.list() == []
        client.close()


# --- spending


def test_spending_reports_each_mark_and_pauses_in_the_end(either, client):
    box = client.sandboxes.create(template="minimal", budget=5).id
    assert either.spend(box, 1) == pytest.approx(1, abs=0.01)
    assert client.alerts.list().alerts == []
    assert either.spend(box, 3.2) == pytest.approx(4.2, abs=0.01)
    assert [alert.meta["percent"] for alert in client.alerts.list().alerts] == ["84"]
    assert client.sandboxes.get(box).status == "running"
    either.spend(box, 4.8)
    assert client.sandboxes.get(box).status == "paused"
    assert sorted(float(alert.meta["threshold_percent"]) for alert in client.alerts.list().alerts) == [80, 95, 100]
    assert client.sandboxes.get(box).llm_cost == pytest.approx(9)
    assert [event.data["cause"] for event in either.journal.events(box) if event.data.get("action") == "pause"] == [
        "budget"
    ]


def test_spending_makes_no_sense(either, box):
    with pytest.raises(ValueError, match="usd: must not be negative; nothing is taken back"):
        either.spend(box, -1)
    with pytest.raises(AdminRequestError, match=r"sandbox not found in account \w+: cage_x"):
        either.spend("cage_x", 1)
    assert either.spend(box, 0) < 0.001


def test_without_a_budget_money_is_only_counted(double, client, box):
    assert double.spend(box, 1000) == pytest.approx(1000, abs=0.01)
    assert client.sandboxes.get(box).status == "running"
    assert client.alerts.list().alerts == []


def test_the_budgets_end_may_destroy(own_emulator):
    emulator = own_emulator(budget_action="destroy")
    with emulator.client() as client:
        box = client.sandboxes.create(template="minimal", budget=1).id
        assert emulator.spend(box, 2) == pytest.approx(2, abs=0.01)
        assert client.sandboxes.list() == []
