"""The stream of steps: nothing is lost or doubled, and it ends with its client, its account and its emulator."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Optional

import httpx
import pytest
from cases import each
from emulator_testing import eventually
from internals import platform_of
from steps_testing import check

from caged.emulator import AccountInfo, Emulator
from caged.emulator.control.step_log import StepLog
from caged.emulator.control_client.base_emulator import BaseEmulator
from caged.emulator.control_client.remote import RemoteEmulator

PATH = "/_emulator/journal/steps/stream"


def get(emulator: BaseEmulator, account: AccountInfo, count: int = 1) -> None:
    """Make requests of an account."""
    with httpx.Client(
        headers={"Authorization": f"Bearer {account.api_key}"}, trust_env=False, verify=False, timeout=60
    ) as client:
        for _ in range(count):
            assert client.get(f"{emulator.base_url}/v1/account").status_code == 200


def log_of(emulator: Emulator, account: AccountInfo) -> StepLog:
    return platform_of(emulator).steps.of(account.id)


def events(
    emulator: Emulator, account: AccountInfo, last: Optional[int] = None, **query: Any
) -> list[tuple[int, dict[str, Any]]]:
    """(id, step) of all events until the stream ends."""
    headers = {"Authorization": f"Bearer {emulator.admin_key}"}
    if last is not None:
        headers["Last-Event-ID"] = str(last)
    answer = httpx.get(
        f"{emulator.base_url}{PATH}",
        params={"account": account.id, "wait": 0, **query},
        headers=headers,
        trust_env=False,
        timeout=30,
        verify=False,
    )
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    return list(parsed(answer.text))


def parsed(text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for event in text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in event.splitlines() if not line.startswith(":"))
        if "data" in lines:
            yield int(lines["id"]), json.loads(lines["data"])


@contextlib.contextmanager
def raw_stream(emulator: Emulator, account: AccountInfo, buffer: int = 0) -> Iterator[socket.socket]:
    """A client that has requested a stream and reads nothing of it."""
    host, port = emulator.base_url.rsplit("/", 1)[1].split(":")
    with socket.socket() as connection:
        if buffer:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        connection.settimeout(20)
        connection.connect((host, int(port)))
        head = f"GET {PATH}?account={account.id} HTTP/1.1\r\nHost: localhost\r\n"
        connection.sendall(f"{head}Authorization: Bearer {emulator.admin_key}\r\n\r\n".encode())
        yield connection


@pytest.fixture(params=["in the process", "over HTTP"])
def transport(request: pytest.FixtureRequest, emulator: Emulator, remote_emulator: RemoteEmulator) -> BaseEmulator:
    return emulator if request.param == "in the process" else remote_emulator


# --- following in Python


def test_follow_gives_what_there_is_and_ends(transport: BaseEmulator, account: AccountInfo):
    get(transport, account, 3)
    steps = [check(step) for step in transport.journal.follow(wait=0, account=account)]
    assert [step.title for step in steps] == ["GET /v1/account"] * 3
    assert steps == transport.journal.steps(account=account)


def test_follow_gives_what_comes_until_nothing_comes_for_a_time(transport: BaseEmulator, account: AccountInfo):
    found: list[Any] = []
    started = threading.Event()

    def follow() -> None:
        for step in transport.journal.follow(wait=3, account=account):
            found.append(step)
            started.set()

    get(transport, account)
    thread = threading.Thread(target=follow)
    thread.start()
    assert started.wait(60)
    get(transport, account, 5)  # each less than three seconds after the one before, also on a busy machine
    thread.join(60)
    assert not thread.is_alive()
    ended = {step.id for step in found if step.status == "ok"}
    assert len(ended) == 6
    assert [step.revision for step in found] == sorted({step.revision for step in found})


def test_follow_after_a_revision(transport: BaseEmulator, account: AccountInfo):
    get(transport, account, 2)
    first, second = transport.journal.steps(account=account)
    assert list(transport.journal.follow(after=first.revision, wait=0, account=account)) == [second]


def test_follow_selects_by_kind_and_status(transport: BaseEmulator, account: AccountInfo):
    get(transport, account, 2)
    assert list(transport.journal.follow(kind="command", wait=0, account=account)) == []
    assert list(transport.journal.follow(status="running", wait=0, account=account)) == []
    assert len(list(transport.journal.follow(status="ok", wait=0, account=account))) == 2


def test_closed_iterator_leaves_no_listener(transport: BaseEmulator, emulator: Emulator, account: AccountInfo):
    get(transport, account)
    following = transport.journal.follow(account=account)
    next(following)
    assert log_of(emulator, account).listeners == 1
    following.close()  # type: ignore[attr-defined]
    eventually(lambda: log_of(emulator, account).listeners == 0, "the listener to go")


@each(
    ("query", "error"),
    [
        ({"kind": "comand"}, ValueError),
        ({"wait": -1}, ValueError),
        ({"wait": float("nan")}, ValueError),
        ({"wait": "1"}, TypeError),
        ({"after": -1}, ValueError),
        ({"account": "*"}, ValueError),
        ({"account": "acct_nope"}, RuntimeError),
    ],
)
def test_impossible_query_is_refused(transport: BaseEmulator, query: dict[str, Any], error: type[Exception]):
    with pytest.raises(error):
        list(transport.journal.follow(**{"wait": 0, **query}))


# --- resuming


def test_resumed_stream_loses_and_doubles_nothing(emulator: Emulator, account: AccountInfo):
    get(emulator, account, 4)
    every = events(emulator, account)
    for number, (revision, _step) in enumerate(every):
        assert events(emulator, account, last=revision) == every[number + 1 :]


def test_stream_that_is_resumed_while_steps_come_has_each_of_them(emulator: Emulator, account: AccountInfo):
    done = threading.Event()

    def work() -> None:
        get(emulator, account, 100)
        done.set()

    thread = threading.Thread(target=work)
    thread.start()
    last, seen, revisions = 0, {}, []
    while not (done.is_set() and len(revisions) and revisions[-1] >= log_of(emulator, account).revision):
        for revision, step in events(emulator, account, last=last):
            seen[step["id"]] = step
            revisions.append(revision)
            last = revision
    thread.join()
    assert revisions == sorted(set(revisions))
    assert len(seen) == 100
    assert {step["status"] for step in seen.values()} == {"ok"}


def test_id_of_an_emulator_that_ran_before_is_ignored(emulator: Emulator, account: AccountInfo):
    get(emulator, account)
    assert len(events(emulator, account, last=10**9)) == 1


@pytest.mark.parametrize("last", ["x", "-1", "1.5", "9" * 100, "", "²"])
def test_id_of_another_form_is_ignored(emulator: Emulator, account: AccountInfo, last: str):
    get(emulator, account)
    headers = {"Authorization": f"Bearer {emulator.admin_key}", "Last-Event-ID": last.encode("utf-8")}
    url = f"{emulator.base_url}{PATH}?account={account.id}&wait=0"
    answer = httpx.get(url, headers=headers, trust_env=False, verify=False, timeout=60)  # type: ignore[arg-type]
    assert len(list(parsed(answer.text))) == 1


def test_head_of_a_stream_is_answered_at_once(emulator: Emulator, account: AccountInfo):
    headers = {"Authorization": f"Bearer {emulator.admin_key}"}
    answer = httpx.head(
        f"{emulator.base_url}{PATH}?account={account.id}", headers=headers, trust_env=False, verify=False
    )
    assert answer.status_code == 200
    assert log_of(emulator, account).listeners == 0


# --- readers


def test_slow_reader_gets_the_newest_state_of_each_step(emulator: Emulator, account: AccountInfo):
    with raw_stream(emulator, account, buffer=4096) as connection:
        eventually(lambda: log_of(emulator, account).listeners == 1, "the listener")
        get(emulator, account, 300)
        newest = log_of(emulator, account).revision
        text = b""
        while f"\nid: {newest}\n".encode() not in text.replace(b"\r\n", b"\n"):
            piece = connection.recv(65536)
            assert piece, "the stream ended"
            text += piece
    ids = [int(line[4:]) for line in text.decode("utf-8", "replace").splitlines() if line.startswith("id: ")]
    assert ids == sorted(set(ids))
    assert len(log_of(emulator, account)) == 300


def test_twenty_readers_get_each_step(emulator: Emulator, account: AccountInfo):
    found: list[set[str]] = [set() for _ in range(20)]

    def follow(seen: set[str]) -> None:
        for step in emulator.journal.follow(status="ok", wait=60, account=account):
            seen.add(step.id)
            if len(seen) == 50:
                return

    threads = [threading.Thread(target=follow, args=(seen,)) for seen in found]
    for thread in threads:
        thread.start()
    eventually(lambda: log_of(emulator, account).listeners == 20, "the readers")
    get(emulator, account, 50)
    for thread in threads:
        thread.join(60)
    assert [len(seen) for seen in found] == [50] * 20
    eventually(lambda: log_of(emulator, account).listeners == 0, "the listeners to go")


def test_client_that_is_gone_leaves_no_listener(emulator: Emulator, account: AccountInfo):
    with raw_stream(emulator, account):
        eventually(lambda: log_of(emulator, account).listeners == 1, "the listener")
    eventually(lambda: log_of(emulator, account).listeners == 0, "the listener to go")


def test_client_that_is_gone_while_it_did_not_read_leaves_no_listener(emulator: Emulator, account: AccountInfo):
    with raw_stream(emulator, account, buffer=4096):
        eventually(lambda: log_of(emulator, account).listeners == 1, "the listener")
        get(emulator, account, 300)
    eventually(lambda: log_of(emulator, account).listeners == 0, "the listener to go")


# --- the end


def test_stream_ends_when_the_account_is_deleted(
    transport: BaseEmulator, emulator: Emulator, new_account: Callable[[], AccountInfo]
):
    account = emulator.create_account()
    get(emulator, account)
    log = log_of(emulator, account)
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.extend(transport.journal.follow(account=account)))
    thread.start()
    eventually(lambda: log.listeners == 1, "the listener")
    emulator.remove_account(account)
    thread.join(60)
    assert not thread.is_alive()
    eventually(lambda: log.listeners == 0, "the listener to go")


def test_stream_of_a_deleted_account_is_refused(transport: BaseEmulator, emulator: Emulator):
    account = emulator.create_account()
    emulator.remove_account(account)
    with pytest.raises(RuntimeError):
        list(transport.journal.follow(wait=0, account=account))


@pytest.mark.parametrize("over_http", [False, True])
def test_stream_ends_with_the_emulator_which_does_not_wait_for_it(over_http: bool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("caged.emulator.server.GRACE_SECONDS", 100)  # for which requests in progress are waited for
    emulator = Emulator(isolation="process").start()
    account = emulator.accounts()[0]
    remote = RemoteEmulator(emulator.base_url, emulator.admin_key)
    source: BaseEmulator = remote if over_http else emulator
    found: list[Any] = []

    def read() -> None:
        for step in source.journal.follow():
            found.append(step)
            time.sleep(0.05)  # so that the emulator ends before the last of them was read

    thread = threading.Thread(target=read)
    thread.start()
    eventually(lambda: log_of(emulator, account).listeners == 1, "the listener")
    box = emulator.client().sandboxes.create(template="minimal").id
    begun = time.monotonic()
    emulator.stop()
    seconds = time.monotonic() - begun
    thread.join(60)
    assert not thread.is_alive()
    assert seconds < 50
    assert any(step.sandbox == box and step.title == "destroyed" for step in found)
    remote.close()


def test_emulator_does_not_wait_for_a_client_that_reads_nothing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("caged.emulator.server.GRACE_SECONDS", 100)  # for which requests in progress are waited for
    emulator = Emulator(isolation="process").start()
    account = emulator.accounts()[0]
    with raw_stream(emulator, account, buffer=4096):  # type: ignore[arg-type]
        eventually(lambda: log_of(emulator, account).listeners == 1, "the listener")
        client = emulator.client()
        box = client.sandboxes.create(template="minimal").id
        for _ in range(60):
            client.sandboxes.exec(box, "head -c 60000 /dev/zero | tr '\\0' x")
        begun = time.monotonic()
        emulator.stop()
        assert time.monotonic() - begun < 50
