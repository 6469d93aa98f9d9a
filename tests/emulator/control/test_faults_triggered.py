"""A fault has triggered when its effect has happened, and only then: every effect, once where it happens and once where
the request ends before. `times` counts triggers, and a fault without one stays armed."""

from __future__ import annotations

import contextlib
import json

import httpx
import pytest
from cases import each
from internals import platform_of
from leftovers import until
from sockets import leave_handshake, open_socket
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus

from caged import CagedError


class World:
    """What the cases act with."""

    def __init__(self, double, account, client, api, box):
        self.double, self.account, self.client, self.api, self.box = double, account, client, api, box
        self.fault = None  # the one that is tested
        self.ends_sandbox = False

    def begin_case(self):
        """Replace the sandbox if the case before may have destroyed it."""
        if self.fault is not None and self.ends_sandbox:
            self.box = self.client.sandboxes.create(template="minimal").id

    def get(self, path="/v1/sandboxes", method="GET", timeout=60, **options):
        with contextlib.suppress(httpx.TransportError):
            # Only the wait for the response is short: the request reaches the emulator.
            return self.api.request(method, path, timeout=httpx.Timeout(60, read=timeout), **options)
        return None

    def exec(self, command="true", timeout=60):
        return self.get(f"/v1/sandboxes/{self.box}/exec", "POST", timeout, json={"command": command})

    def socket(self, act, path="terminal?rows=24&cols=80"):
        kind = path.partition("?")[0]
        try:
            with open_socket(self.double.base_url, f"/sandboxes/{self.box}/{path}", self.account.api_key, kind) as one:
                act(one)
        except (InvalidStatus, InvalidMessage, ConnectionClosed, ConnectionError, EOFError):
            pass


@pytest.fixture
def world(double, account, client, api, box):
    return World(double, account, client, api, box)


def until_closed(socket):
    with contextlib.suppress(ConnectionClosed):
        while True:
            socket.recv(timeout=60)


def impatient(world):
    """A client that leaves during the handshake, after the fault has matched it."""
    leave_handshake(world.double.base_url, world.box, world.account.api_key, lambda: world.fault.info.seen)


def gone(world):
    """A call about a sandbox that does not exist: refused, 404."""
    return world.get("/v1/sandboxes/cage_gone")


def leave(_socket):
    pass


#: (effect and condition, options, act, how often it triggers)
CASES = [
    ("status", {"operation": "sandboxes.list", "status": 503}, World.get, 1),
    ("status of a bad body", {"operation": "sandboxes.exec", "status": 503}, lambda w: w.exec(5), 1),
    ("status after a delay", {"operation": "sandboxes.list", "status": 503, "delay": 0.1}, World.get, 1),
    (
        "status, client gone in the delay",
        {"operation": "sandboxes.list", "status": 503, "delay": 60},
        lambda w: w.get(timeout=0.2),
        0,
    ),
    ("rate limit", {"operation": "sandboxes.list", "rate_limit": 3}, World.get, 1),
    (
        "rate limit, client gone in the delay",
        {"operation": "sandboxes.list", "rate_limit": 3, "delay": 60},
        lambda w: w.get(timeout=0.2),
        0,
    ),
    ("delay", {"operation": "sandboxes.list", "delay": 0.1}, World.get, 1),
    ("delay, client gives up", {"operation": "sandboxes.list", "delay": 60}, lambda w: w.get(timeout=0.2), 1),
    ("hang", {"operation": "sandboxes.list", "hang": True}, lambda w: w.get(timeout=0.2), 1),
    (
        "hang, client gone in the delay",
        {"operation": "sandboxes.list", "hang": True, "delay": 60},
        lambda w: w.get(timeout=0.2),
        0,
    ),
    ("drop before", {"operation": "sandboxes.list", "drop": "before"}, World.get, 1),
    (
        "drop before, client gone in the delay",
        {"operation": "sandboxes.list", "drop": "before", "delay": 60},
        lambda w: w.get(timeout=0.2),
        0,
    ),
    ("drop after", {"operation": "sandboxes.list", "drop": "after"}, World.get, 1),
    ("drop after a refusal", {"operation": "sandboxes.get", "drop": "after"}, gone, 1),
    (
        "drop after, client gone in the operation",
        {"operation": "sandboxes.exec", "drop": "after"},
        lambda w: w.exec("sleep 60", timeout=0.3),
        0,
    ),
    ("drop mid-body", {"operation": "sandboxes.list", "drop": "mid-body"}, World.get, 1),
    ("drop mid-body of a refusal", {"operation": "sandboxes.get", "drop": "mid-body"}, gone, 1),
    (
        "drop mid-body without a body",
        {"operation": "sandboxes.destroy", "drop": "mid-body"},
        lambda w: w.get(f"/v1/sandboxes/{w.box}", "DELETE"),
        1,
    ),
    ("drop mid-body, HEAD", {"operation": "sandboxes.list", "drop": "mid-body"}, lambda w: w.get(method="HEAD"), 1),
    ("truncate", {"operation": "sandboxes.get", "truncate": 3}, lambda w: w.get(f"/v1/sandboxes/{w.box}"), 1),
    ("truncate at once", {"operation": "sandboxes.list", "truncate": 0}, World.get, 1),
    ("truncate a refusal", {"operation": "sandboxes.get", "truncate": 3}, gone, 1),
    ("truncate beyond the end", {"operation": "sandboxes.list", "truncate": 100_000}, World.get, 0),
    (
        "truncate without a body",
        {"operation": "sandboxes.destroy", "truncate": 0},
        lambda w: w.get(f"/v1/sandboxes/{w.box}", "DELETE"),
        0,
    ),
    ("truncate, HEAD", {"operation": "sandboxes.list", "truncate": 0}, lambda w: w.get(method="HEAD"), 0),
    ("unreachable", {"unreachable": True}, World.exec, 1),
    (
        "unreachable, no such sandbox",
        {"unreachable": True},
        lambda w: w.get("/v1/sandboxes/x/exec", "POST", json={"command": "a"}),
        0,
    ),
    ("unreachable, bad body", {"unreachable": True}, lambda w: w.exec(5), 0),
    ("unreachable, client gone in the delay", {"unreachable": True, "delay": 60}, lambda w: w.exec(timeout=0.2), 0),
    ("create error", {"outcome": "error"}, lambda w: w.get(method="POST", json={"template": "minimal"}), 1),
    ("create error, refused", {"outcome": "error"}, lambda w: w.get(method="POST", json={"template": "nope"}), 0),
    (
        "create error, fails by itself",
        {"outcome": "error"},
        lambda w: w.get(method="POST", json={"template": "minimal", "init_script": "exit 3"}),
        0,
    ),
    ("snapshot failed", {"outcome": "failed"}, lambda w: w.get(f"/v1/sandboxes/{w.box}/snapshots", "POST", json={}), 1),
    (
        "snapshot failed, refused",
        {"outcome": "failed"},
        lambda w: w.get("/v1/sandboxes/cage_gone/snapshots", "POST", json={}),
        0,
    ),
    ("dies at once", {"outcome": "dies"}, lambda w: w.exec("sleep 60"), 1),
    ("dies after a delay", {"outcome": "dies", "delay": 0.2}, lambda w: w.exec("sleep 60"), 1),
    ("dies, over before", {"outcome": "dies", "delay": 60}, World.exec, 0),
    ("dies, bad body", {"outcome": "dies"}, lambda w: w.exec(5), 0),
    (
        "dies, client gone before",
        {"outcome": "dies", "delay": 60},
        lambda w: w.exec("sleep 60", timeout=0.3),
        0,
    ),
    ("socket: status", {"operation": "sandboxes.terminal", "status": 503}, lambda w: w.socket(leave), 1),
    ("socket: rate limit", {"operation": "sandboxes.mcp", "rate_limit": 3}, lambda w: w.socket(leave, "mcp"), 1),
    ("socket: delay", {"operation": "sandboxes.terminal", "delay": 0.1}, lambda w: w.socket(leave), 1),
    ("socket: delay, client gives up", {"operation": "sandboxes.terminal", "delay": 60}, impatient, 1),
    (
        "socket: status, gone in the delay",
        {"operation": "sandboxes.terminal", "status": 503, "delay": 60},
        impatient,
        0,
    ),
    ("socket: hang", {"operation": "sandboxes.terminal", "hang": True}, impatient, 1),
    ("socket: drop before", {"operation": "sandboxes.terminal", "drop": "before"}, lambda w: w.socket(leave), 1),
    ("socket: drop before, gone", {"operation": "sandboxes.terminal", "drop": "before", "delay": 60}, impatient, 0),
    ("socket: drop after", {"operation": "sandboxes.terminal", "drop": "after"}, lambda w: w.socket(until_closed), 1),
    (
        "socket: drop after, closed before",
        {"operation": "sandboxes.terminal", "drop": "after", "delay": 60},
        lambda w: w.socket(leave),
        0,
    ),
    ("socket: close", {"close_socket": 4000}, lambda w: w.socket(until_closed), 1),
    ("socket: close, closed before", {"close_socket": 4000, "delay": 60}, lambda w: w.socket(leave), 0),
    (
        "socket: close, over before",
        {"close_socket": 4000, "delay": 60},
        lambda w: w.client.sandboxes.stream(w.box, "true").text(),
        0,
    ),
    ("socket: close, a plain request", {"close_socket": 4000}, lambda w: w.get(f"/v1/sandboxes/{w.box}/terminal"), 0),
    ("socket: close, read-only key", {"close_socket": 4000}, lambda w: read_only(w), 0),
    ("socket: truncate", {"operation": "sandboxes.terminal", "truncate": 0}, lambda w: w.socket(until_closed), 1),
    (
        "socket: truncate beyond the end",
        {"operation": "sandboxes.terminal", "truncate": 100_000},
        lambda w: w.client.sandboxes.stream(w.box, "true").text(),
        0,
    ),
    ("socket: dies", {"operation": "sandboxes.terminal", "outcome": "dies"}, lambda w: w.socket(until_closed), 1),
    (
        "socket: dies, closed before",
        {"operation": "sandboxes.mcp", "outcome": "dies", "delay": 60},
        lambda w: w.socket(leave, "mcp"),
        0,
    ),
]


def read_only(world):
    key = world.client.account.create_key("reader", scope="read_only").key
    with contextlib.suppress(InvalidStatus):
        with open_socket(world.double.base_url, f"/sandboxes/{world.box}/terminal", key, "terminal"):
            pass


def request_of(world):
    """The newest request, but for the tickets that the SDK's sockets need."""
    every = world.double.journal.requests()
    return [one for one in every if not one.path.endswith("/ticket") and "ticket" not in one.operation][-1]


@each(("case", "options", "act", "triggers"), CASES)
def test_triggered_is_what_had_its_effect(world, case, options, act, triggers):
    fault = world.fault = world.double.faults.add(times=1, **options)
    world.ends_sandbox = "dies" in options.values() or "sandboxes.destroy" in options.values()
    act(world)
    until(lambda: request_of(world).duration_ms > 0)  # it is over
    assert (fault.info.seen, fault.triggered) == (1, triggers)
    entry = request_of(world)
    assert entry.fault == ("" if not triggers else fault.id)
    unused = [one for one in world.double.unused() if fault.id in one]
    assert bool(unused) is not bool(triggers)
    if not triggers:
        assert "1 requests matched, but ended before the effect" in unused[0]
    fault.remove()


def test_times_counts_triggers_and_not_attempts(double, client, box):
    client.files.write(box, "short", "x")
    client.files.write(box, "long", "x" * 1000)
    with double.faults.add("files.read", truncate=200, times=2) as fault:
        results = []
        for name in ("short", "long", "short", "long", "long", "short"):
            try:
                results.append(len(client.files.read(box, name)))
            except CagedError:
                results.append("cut")
        assert results == [1, "cut", 1, "cut", 1000, 1]
        assert (fault.info.seen, fault.triggered) == (6, 2)


def test_a_fault_in_use_is_not_used_twice(double, emulator, account, client, box):
    """Two commands at once and times=1: the second does not take the fault that the first may still trigger."""
    from concurrent.futures import ThreadPoolExecutor

    with double.faults.add("sandboxes.exec", drop="after", times=1) as fault, ThreadPoolExecutor(2) as pool:
        first = pool.submit(client.sandboxes.exec, box, "until [ -e go ]; do sleep 0.01; done")
        until(lambda: platform_of(double).faults.get(fault.id).pending == 1)
        with emulator.client(account.api_key, max_retries=0) as second:
            assert second.sandboxes.exec(box, "echo second").output == "second\n"
            second.files.write(box, "go", "")
        with pytest.raises(CagedError):
            first.result(60)
        assert fault.triggered == 1


def test_dying_at_once_comes_before_a_stub_that_answers_at_once(double, client, box):
    double.commands.stub("quick", "done")
    with double.faults.add(outcome="dies", times=1) as fault:
        client.sandboxes.exec(box, "quick")
        assert fault.triggered == 1
    until(lambda: client.sandboxes.get(box).status == "error")


def test_a_replaced_answer_of_a_handshake_has_its_body(double, account, box):
    with double.faults.add("sandboxes.terminal", status=502, body="<html>bad gateway</html>", retry_after=4):
        with pytest.raises(InvalidStatus) as caught:
            with open_socket(double.base_url, f"/sandboxes/{box}/terminal", account.api_key, "terminal"):
                pass
    response = caught.value.response
    assert (response.status_code, response.headers["Retry-After"]) == (502, "4")
    assert response.body == b"<html>bad gateway</html>"


@pytest.mark.parametrize("count", [None, 0, 1000])
def test_a_stream_of_an_answer_is_cut(double, client, box, count):
    client.sandboxes.exec(box, "head -c 300000 /dev/urandom > noise")
    snapshot = client.snapshots.wait(client.snapshots.create(box).id)
    url = client.snapshots.download_url(snapshot.id)
    size = len(httpx.get(url, trust_env=False, verify=False, timeout=60).content)
    options = {"drop": "mid-body"} if count is None else {"truncate": count}
    with double.faults.add("snapshots.content", times=1, **options) as fault:
        with pytest.raises(httpx.TransportError):
            httpx.get(url, trust_env=False, verify=False, timeout=60)
        assert fault.triggered == 1
        assert len(httpx.get(url, trust_env=False, verify=False, timeout=60).content) == size
    with double.faults.add("snapshots.content", truncate=size, optional=True) as fault:
        assert len(httpx.get(url, trust_env=False, verify=False, timeout=60).content) == size
        assert (fault.info.seen, fault.triggered) == (1, 0)


def test_an_answer_is_cut_after_so_many_bytes(double, emulator, account, box):
    """At the last byte, and not at the end."""
    whole = httpx.get(
        f"{emulator.base_url}/v1/account",
        headers={"Authorization": f"Bearer {account.api_key}"},
        trust_env=False,
        verify=False,
        timeout=60,
    )
    size = len(whole.content)
    for keep, triggers in ((size - 1, 1), (size, 0), (size + 1, 0)):
        with double.faults.add("account.get", truncate=keep, optional=True) as fault:
            got = None
            with contextlib.suppress(httpx.RemoteProtocolError):
                got = httpx.get(
                    f"{emulator.base_url}/v1/account",
                    headers={"Authorization": f"Bearer {account.api_key}"},
                    trust_env=False,
                    verify=False,
                    timeout=60,
                )
            assert (got is None) is bool(triggers)
            assert fault.triggered == triggers
    assert json.loads(whole.content)


@pytest.mark.parametrize("options", [{"drop": "after"}, {"drop": "mid-body"}, {"truncate": 5}], ids=str)
def test_a_refusal_is_an_answer_that_can_be_broken(double, api, options):
    with double.faults.add("sandboxes.get", **options), pytest.raises(httpx.TransportError):
        api.get("/v1/sandboxes/cage_gone")
    assert double.journal[-1].status == 404
