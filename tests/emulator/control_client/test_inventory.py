"""What an account has, seen by the emulator's own calls, and the removal of the controls of a test."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from leftovers import until
from scoped import ScopedEmulator

from caged.emulator import AccountInfo, Emulator, EmulatorError, RemoteEmulator


@pytest.fixture(params=["here", "elsewhere"])
def double(request: pytest.FixtureRequest, emulator: Emulator, account: AccountInfo) -> Iterator[ScopedEmulator]:
    if request.param == "here":
        scoped = ScopedEmulator(emulator, account)
        yield scoped
        scoped.remove_shared_controls()
    else:
        with RemoteEmulator(emulator.base_url, emulator.admin_key) as remote:
            scoped = ScopedEmulator(remote, account)
            yield scoped
            scoped.remove_shared_controls()


@pytest.fixture
def account(emulator: Emulator) -> Iterator[AccountInfo]:
    made = emulator.create_account()
    yield made
    emulator.remove_account(made.id)


def test_sandboxes_logs_and_snapshots_are_seen_past_faults_and_journal(
    double: ScopedEmulator, account: AccountInfo
) -> None:
    with double.client(account.api_key) as client:
        box = client.sandboxes.create()
        taken = client.snapshots.wait(client.snapshots.create(box.id, name="mine", description="why").id, timeout=20)
        client.sandboxes.exec(box.id, "echo hello")
        client.sandboxes.pause(box.id)
    double.faults.add("*", status=500, optional=True)
    before = len(double.journal)
    (held,) = double.inventory.sandboxes()
    assert (held.id, held.account, held.status, held.template) == (box.id, account.id, "paused", "minimal")
    mine, automatic = double.inventory.snapshots()
    assert (mine.id, mine.sandbox, mine.name, mine.description) == (taken.id, box.id, "mine", "why")
    assert (mine.automatic, automatic.automatic) == (False, True)
    assert "$ echo hello (exit 0" in "\n".join(map(str, double.inventory.logs(box.id)))
    assert len(double.inventory.logs(box.id, last=1)) == 1
    assert len(double.journal) == before
    assert double.key_for(box.id) == account.api_key
    assert box.id in [one.id for one in double.inventory.sandboxes(account="*")]
    other = double.create_account()
    assert double.inventory.sandboxes(account=other.id) == double.inventory.snapshots(account=other.id) == []
    double.remove_account(other.id)


def test_file_is_read_in_pieces_without_an_event(emulator: Emulator, account: AccountInfo) -> None:
    with emulator.client(account.api_key) as client:
        box = client.sandboxes.create()
        client.sandboxes.exec(box.id, "seq 300000 > large; mkdir empty; mkfifo pipe")
        events = len(emulator.for_account(account).journal.events())

        def read(path: str, status: int = 200, **query: Any) -> bytes:
            url = f"{emulator.base_url}/_emulator/sandboxes/{box.id}/files/content"
            headers = {"Authorization": f"Bearer {emulator.admin_key}"}
            response = httpx.get(url, params={"path": path, **query}, headers=headers, trust_env=False, verify=False)
            assert response.status_code == status, response.text
            return response.content

        whole = "".join(f"{number}\n" for number in range(1, 300_001)).encode()
        first = read("/workspace/large")
        assert len(first) == 1024**2
        assert first + read("/workspace/large", offset=1024**2) == whole
        assert read("large", offset=len(whole)) == read("large", offset=2**30) == b""
        for path, status in (("/proc/version", 400), ("empty", 400), ("pipe", 400), ("none", 404), ("", 400)):
            read(path, status)
        assert b"offset: must be from 0 to 1073741824" in read("large", 400, offset=2**30 + 1)
        read("large", 400, offset=-1)
        assert len(emulator.for_account(account).journal.events()) == events
        client.sandboxes.pause(box.id)
        read("large", 409)


def test_unknown_sandboxes_are_said(double: ScopedEmulator) -> None:
    with pytest.raises(EmulatorError, match="there is no sandbox cage_none"):
        double.key_for("cage_none")
    with pytest.raises(EmulatorError, match="cage_none"):
        double.inventory.logs("cage_none")


def test_open_sockets_are_listed_until_they_are_closed(double: ScopedEmulator, account: AccountInfo) -> None:
    with double.client(account.api_key) as client:
        box = client.sandboxes.create()
        with client.sandboxes.stream(box.id, "sleep 600"):
            (socket,) = double.inventory.sockets()
            assert (socket.account, socket.sandbox, socket.kind) == (account.id, box.id, "stream")
            assert double.inventory.sockets(wait=0.01) == [socket]
        until(lambda: double.inventory.sockets(wait=5) == [])
    with pytest.raises(ValueError, match="wait: must be seconds from 0 to 5"):
        double.inventory.sockets(wait=60)


def test_forgetting_leaves_what_the_account_has(double: ScopedEmulator, account: AccountInfo) -> None:
    with double.client(account.api_key) as client:
        client.sandboxes.create()
        double.faults.add("sandboxes.list", status=500)
        double.clock.freeze("2031-01-01T00:00:00Z")
        double.reset_controls()
        assert len(client.sandboxes.list()) == 1
    assert double.faults.list() == []
    assert not double.clock.frozen
    assert [one.operation for one in double.journal] == ["sandboxes.list"]


def test_controls_for_all_accounts_are_removed_and_those_of_other_accounts_are_not(
    double: ScopedEmulator, account: AccountInfo
) -> None:
    other = double.create_account()
    kept = double.faults.add("alerts.list", status=503, account=other.id)
    mine = double.faults.add("sandboxes.list", status=503, account="*")
    double.clock.advance(hours=1, account="*")
    reported = "\n".join(double.unused())
    assert mine.id in reported
    assert kept.id not in reported
    double.remove_shared_controls()
    assert mine.id not in [fault.id for fault in double.faults.list(account="*")]
    assert [fault.id for fault in double.faults.list(account=other)] == [kept.id]
    assert double.unused() == []
    double.remove_account(other.id)
