"""Clients are served although file descriptors run out or other clients leave requests unfinished."""

from __future__ import annotations

import base64
import concurrent.futures
import contextlib
import json
import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Callable, Optional

import httpx
import pytest
from emulator_testing import Api, api_of, eventually
from net_testing import LONG, SECONDS, api, connect, emulator, read_all, status_of
from sockets import open_socket

from caged.emulator import Emulator, connections, descriptors

HANDSHAKE = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)


class Served:
    """`serve` with a small limit on its descriptors, and its log in a file."""

    def __init__(self, folder: Path, limit: int, soft: Optional[int] = None) -> None:
        (folder / "tmp").mkdir()
        self.log = folder / "log"
        ready = folder / "ready.json"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "caged.emulator", "serve", "--port", "0", "--ready-file", str(ready)],
                stdout=log,
                stderr=log,
                env={
                    **os.environ,
                    "TMPDIR": str(folder / "tmp"),
                    "CAGED_EMULATOR_LOCATOR_DIR": str(folder / "locators"),
                },
                preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (soft or limit, limit)),
            )
        try:
            eventually(lambda: ready.exists() or self.process.poll() is not None, "serve to answer")
            found = json.loads(ready.read_text())
        except BaseException:
            self.stop()
            raise
        self.url, self.key = found["base_url"], found["api_key"]

    def client(self) -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.key}"}
        return httpx.Client(base_url=f"{self.url}/v1", headers=headers, trust_env=False, verify=False, timeout=SECONDS)

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """An emulator with a hard limit of 128 descriptors."""
    served = Served(tmp_path_factory.mktemp("small"), 128)
    yield served
    served.stop()


@pytest.fixture
def box(small: Served) -> Iterator[tuple[httpx.Client, str]]:
    """A client with an open connection, and a running sandbox."""
    with small.client() as client:
        made = client.post("/sandboxes", json={"template": "minimal", "network_mode": "full"})
        assert made.status_code == 201, made.text
        yield client, made.json()["id"]
        assert client.delete(f"/sandboxes/{made.json()['id']}").status_code == 204


def run(client: httpx.Client, sandbox: str) -> str:
    answer = client.post(f"/sandboxes/{sandbox}/exec", json={"command": "echo on"})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["output"])


#: What each of the 160 connections sends before it stops.
UNFINISHED = {
    "nothing": "",
    "one letter": "G",
    "half a request line": "GET /v1/sand",
    "half a head": "GET /v1/sandboxes HTTP/1.1\r\nHost: localhost\r\nX-A: ",
    "head without its end": "GET /v1/sandboxes HTTP/1.1\r\nHost: localhost\r\n",
    "no body": (
        "POST /v1/sandboxes HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\nContent-Length: 9\r\n\r\n"
    ),
    "half a body": (
        "POST /v1/sandboxes HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\nContent-Length: 9\r\n\r\n{{"
    ),
    "half a chunk": (
        "POST /v1/sandboxes HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n"
        "Transfer-Encoding: chunked\r\n\r\nff\r\n{{"
    ),
    "half a handshake": "GET /v1/x HTTP/1.1\r\nHost: localhost\r\n" + HANDSHAKE,
    "a handshake with a body": f"GET /v1/x HTTP/1.1\r\nHost: localhost\r\n{HANDSHAKE}Content-Length: 5\r\n\r\nab",
    "a whole request, kept open": "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
}


def run_again(client: httpx.Client, sandbox: str) -> str:
    """Run a command over a connection that the emulator may be closing because it was idle."""
    try:
        return run(client, sandbox)
    except (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError):
        return run(client, sandbox)


#: The shapes for which the emulator waits in the most different ways.
SHORT = ("nothing", "half a head", "half a body", "a handshake with a body", "a whole request, kept open")


@pytest.mark.parametrize("shape", UNFINISHED if LONG else SHORT)
def test_client_is_served_beside_160_unfinished_connections(
    small: Served, box: tuple[httpx.Client, str], shape: str
) -> None:
    client, sandbox = box
    before = small.log.stat().st_size
    data = UNFINISHED[shape].format(key=small.key).encode()
    with contextlib.ExitStack() as held:
        for _ in range(1000 if LONG else 160):
            connection = held.enter_context(contextlib.closing(connect(small.url)))
            if data:
                with contextlib.suppress(ConnectionError):
                    connection.sendall(data)
        started = time.monotonic()
        assert run_again(client, sandbox) == "on\n"  # over its own connection, or a new one when that one was needed
        with small.client() as other:
            assert run(other, sandbox) == "on\n"
            made = other.post("/sandboxes", json={"template": "minimal"})
            assert made.status_code == 201, made.text
            assert other.delete(f"/sandboxes/{made.json()['id']}").status_code == 204
        assert time.monotonic() - started < 20  # less than connections.HEAD_SECONDS
    assert small.log.stat().st_size - before < 4096
    assert run(client, sandbox) == "on\n"


@contextlib.contextmanager
def terminals(served: Served, client: httpx.Client, most: int) -> Iterator[tuple[list[str], list[int]]]:
    """Open terminals, each in its own sandbox, until one is refused. Yields (sandboxes, statuses of refusals)."""
    boxes: list[str] = []
    refused: list[int] = []
    with contextlib.ExitStack() as held:
        while not refused and len(boxes) < most:
            made = client.post("/sandboxes", json={"template": "minimal"})
            if made.status_code != 201:
                assert "file descriptors" in made.json()["detail"]
                refused.append(made.status_code)
                break
            boxes.append(made.json()["id"])
            for _ in range(3):
                try:
                    held.enter_context(open_socket(served.url, f"/sandboxes/{boxes[-1]}/terminal", served.key))
                except Exception as error:  # the client reports a refusal in several ways
                    refused.append(getattr(getattr(error, "response", None), "status_code", 0))
                    break
        try:
            yield boxes, refused
        finally:
            for made_box in boxes:
                client.delete(f"/sandboxes/{made_box}")


def test_connection_over_descriptor_limit_is_refused_and_others_keep_working(
    small: Served, box: tuple[httpx.Client, str]
) -> None:
    """Opens terminals until the limit is reached: the next gets 503, and all open ones still work."""
    client, sandbox = box
    before = small.log.stat().st_size
    with terminals(small, client, 100) as (boxes, refused):
        assert refused == [503]
        assert len(boxes) > 3
        assert run(client, sandbox) == "on\n"
        assert run(client, boxes[0]) == run(client, boxes[-1]) == "on\n"
    made = client.post("/sandboxes", json={"template": "minimal"})  # without help, once descriptors are free
    assert made.status_code == 201, made.text
    client.delete(f"/sandboxes/{made.json()['id']}")
    assert small.log.stat().st_size - before < 4096


def test_create_without_free_descriptors_returns_503(small: Served, box: tuple[httpx.Client, str]) -> None:
    client, sandbox = box
    made: list[str] = []
    answer = None
    while len(made) < 250:
        answer = client.post("/sandboxes", json={"template": "minimal"})
        if answer.status_code != 201:
            break
        made.append(answer.json()["id"])
    assert answer is not None
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert "file descriptors" in answer.json()["detail"]
    assert "ulimit -n" in answer.json()["detail"]
    assert answer.headers["retry-after"] == "1"
    assert len(made) > 8
    for existing in (sandbox, made[0], made[-1]):
        assert run(client, existing) == "on\n"
    with small.client() as other:  # a new connection works, too
        assert run(other, sandbox) == "on\n"
    assert client.delete(f"/sandboxes/{made.pop()}").status_code == 204
    assert client.delete(f"/sandboxes/{made.pop()}").status_code == 204
    again = client.post("/sandboxes", json={"template": "minimal"})
    assert again.status_code == 201, again.text
    for existing in [*made, again.json()["id"]]:
        assert client.delete(f"/sandboxes/{existing}").status_code == 204


@contextlib.contextmanager
def descriptors_on_their_way(count: int) -> Iterator[None]:
    """Send descriptors that are not received. To another process of this user that may have fewer, the kernel passes
    none meanwhile."""
    sender, receiver = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with sender, receiver, open(os.devnull) as file:
        for _ in range(count // 100):
            socket.send_fds(sender, [b"x"], [file.fileno()] * 100)
        yield


@pytest.mark.skipif(os.geteuid() == 0, reason="root may send any number")
def test_calls_wait_while_user_has_too_many_descriptors_on_their_way(
    small: Served, box: tuple[httpx.Client, str]
) -> None:
    client, sandbox = box
    # Of its own: a request to a sandbox waits for those before it, and this one is to reach init, which sends.
    with_terminal = client.post("/sandboxes", json={"template": "minimal"}).json()["id"]

    def in_terminal() -> str:
        with open_socket(small.url, f"/sandboxes/{with_terminal}/terminal", small.key) as terminal:
            terminal.send(json.dumps({"type": "input", "data": "echo on\n"}))
            return str(terminal.recv(timeout=SECONDS))

    def with_own_client(call: Callable[[httpx.Client], Any]) -> Any:
        with small.client() as own:
            return call(own)

    with ThreadPoolExecutor() as threads:
        with descriptors_on_their_way(200):
            running = threads.submit(with_own_client, lambda own: run(own, sandbox))
            opened = threads.submit(in_terminal)
            created = threads.submit(with_own_client, lambda own: own.post("/sandboxes", json={"template": "minimal"}))
            concurrent.futures.wait((running, opened, created), 0.2, concurrent.futures.FIRST_COMPLETED)
            assert not any(call.done() for call in (running, opened, created))
            assert client.get(f"/sandboxes/{sandbox}").json()["status"] == "running"
        assert running.result() == "on\n"
        assert opened.result()
        made = created.result().json()
    assert made["status"] == "running"
    for each in (sandbox, with_terminal, made["id"]):
        assert run(client, each) == "on\n"
    for each in (with_terminal, made["id"]):
        client.delete(f"/sandboxes/{each}")


def test_soft_descriptor_limit_is_raised_for_emulator_only(tmp_path: Path) -> None:
    served = Served(tmp_path, 4000, soft=300)
    try:
        limits = Path(f"/proc/{served.process.pid}/limits").read_text().splitlines()
        assert next(line for line in limits if line.startswith("Max open files")).split()[3:5] == ["4000", "4000"]
        with served.client() as client:
            sandbox = client.post("/sandboxes", json={"template": "minimal"}).json()["id"]
            answer = client.post(f"/sandboxes/{sandbox}/exec", json={"command": "ulimit -Sn; ulimit -Hn"})
            assert answer.json()["output"].split() == ["300", "4000"]
    finally:
        served.stop()


# --- limits on time


#: Time limits in seconds. On a busy machine a client may be too slow for the first; it is given the next then.
LIMITS = (0.4, 2.0, 8.0)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Reduce the time limits for clients of the emulator in this process to the first of LIMITS, or to another one."""
    import caged.emulator.http_protocol as protocol

    def limit(seconds: float) -> None:
        monkeypatch.setattr(protocol, "HEAD_SECONDS", seconds)
        monkeypatch.setattr(protocol, "BODY_SECONDS", seconds)

    limit(LIMITS[0])
    return limit


LATE = {
    "nothing": ("", None),
    "half a request line": ("GET /v1/sand", 408),
    "half a head": ("GET /v1/sandboxes HTTP/1.1\r\nHost: localhost\r\nX-A: ", 408),
    "no body": (UNFINISHED["no body"], 408),
    "half a body": (UNFINISHED["half a body"], 408),
    "half a chunk": (UNFINISHED["half a chunk"], 408),
    "half a body that is not read": (
        "GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nab",
        200,
    ),
    "half a second request": ("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /health", 200),
    "half a handshake": (UNFINISHED["half a handshake"], 408),
    "a handshake with a body": (UNFINISHED["a handshake with a body"], 400),
    "a handshake with a chunked body": (
        f"GET /v1/x HTTP/1.1\r\nHost: localhost\r\n{HANDSHAKE}Transfer-Encoding: chunked\r\n\r\n5\r\nab",
        400,
    ),
    "a handshake by POST": (f"POST /v1/x HTTP/1.1\r\nHost: localhost\r\n{HANDSHAKE}\r\n", 405),
    "a handshake with a long header": (
        f"GET /v1/x HTTP/1.1\r\nHost: localhost\r\n{HANDSHAKE}Cookie: {'c' * 20000}\r\n\r\n",
        431,
    ),
    "a handshake with 200 headers": (
        f"GET /v1/x HTTP/1.1\r\nHost: localhost\r\n{HANDSHAKE}{'X-A: b' + chr(13) + chr(10)}".ljust(300)
        + "\r\n".join(["", *("X-B: c" for _ in range(200)), "", ""]),
        431,
    ),
    "a handshake with a long path": (f"GET /{'p' * 20000} HTTP/1.1\r\nHost: localhost\r\n{HANDSHAKE}\r\n", 414),
}


def test_unfinished_request_is_answered_and_disconnected(
    emulator: Emulator, api: Api, impatient: Callable[[float], None]
) -> None:
    """All shapes at once, each on its own connection, so that they time out together."""
    answers: dict[str, bytes] = {}
    for seconds in LIMITS:
        impatient(seconds)
        with contextlib.ExitStack() as held:
            connections = {}
            # Those without an answer were disconnected before they sent anything.
            for shape in (shape for shape in LATE if not answers.get(shape)):
                connections[shape] = held.enter_context(contextlib.closing(connect(emulator.base_url)))
                with contextlib.suppress(ConnectionError):
                    connections[shape].sendall(LATE[shape][0].format(key=api.key).encode())
            for shape, client in connections.items():
                answers[shape] = read_all(client)  # TimeoutError when it stays open
        if all(answers[shape] or status is None for shape, (_text, status) in LATE.items()):
            break
    for shape, (_text, status) in LATE.items():
        answer = answers[shape]
        # Some releases of websockets answer 400 to a handshake that they cannot read.
        assert status_of(answer) in ((400, status) if status in (405, 414, 431) else (status,)), (shape, answer)
        if status == 408:
            assert b"application/problem+json" in answer, shape


def test_slow_request_is_disconnected_although_bytes_keep_arriving(emulator: Emulator, impatient: object) -> None:
    for head in ("GET / HTTP/1.1\r\nX-A: ", "POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900\r\n\r\n"):
        with contextlib.closing(connect(emulator.base_url)) as client:
            client.sendall(head.encode())
            client.settimeout(0.05)
            answer = b""
            deadline = time.monotonic() + SECONDS
            while not answer and time.monotonic() < deadline:
                with contextlib.suppress(socket.timeout):  # TimeoutError from Python 3.10 on
                    answer = client.recv(65536)
                    break
                client.sendall(b"a")
            assert status_of(answer) == 408, answer


def test_steady_upload_over_time_limit_is_not_disconnected(
    emulator: Emulator, api: Api, impatient: Callable[[float], None]
) -> None:
    """The upload takes longer than the time limit, and is faster than the lowest rate."""
    box = api.sandbox()
    body = json.dumps({"content": "x" * 400_000}).encode()
    head = f"PUT /v1/sandboxes/{box}/files/content?path=big HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    for seconds in LIMITS:
        impatient(seconds)
        with contextlib.closing(connect(emulator.base_url)) as client, contextlib.suppress(ConnectionError):
            client.sendall(f"{head}Authorization: Bearer {api.key}\r\nContent-Length: {len(body)}\r\n\r\n".encode())
            for start in range(0, len(body), 20_000):
                client.sendall(body[start : start + 20_000])
                time.sleep(seconds / 5)
            if status_of(read_all(client)) == 200:
                return
    pytest.fail("an upload in pieces, several within the time limit, was disconnected")


def test_slow_command_is_not_disconnected(emulator: Emulator, api: Api, impatient: object) -> None:
    """The time limits apply to what the client sends, not to the work of the emulator."""
    box = api.sandbox()
    assert api.output(box, "sleep 1.5; echo done") == "done\n"


def test_idle_connection_stays_open(emulator: Emulator, api: Api, impatient: object) -> None:
    with contextlib.closing(connect(emulator.base_url)) as client:
        for quiet in (1.5, 0.0):  # longer than the time limit of a head, and than the interval of its checks
            client.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            answer = b""
            while not answer.endswith(b"}"):
                answer += client.recv(65536) or b"}"
            assert status_of(answer) == 200
            time.sleep(quiet)


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nCookie: " + b"c" * 40_000 + b"\r\n\r\n", 404),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nCookie: " + b"c" * 300_000, 431),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X-A: b\r\n" * 40_000, 431),
        (b"GET /" + b"p" * 300_000, 431),
    ],
    ids=["40 KB of cookies", "300 KB of cookies", "40000 headers", "a path of 300 KB"],
)
def test_head_over_size_limit_is_refused(emulator: Emulator, head: bytes, status: int) -> None:
    with contextlib.closing(connect(emulator.base_url)) as client:
        with contextlib.suppress(ConnectionError):
            client.sendall(head)
        answer = b""
        with contextlib.suppress(ConnectionError):
            answer = client.recv(65536)
    # A reset of the connection may discard the response while more data is in transit.
    assert status_of(answer) in ((status,) if status == 404 else (status, None)), answer


def test_number_of_open_descriptors_is_counted() -> None:
    def counted_of_ten() -> int:
        before = descriptors.count_used()
        with contextlib.ExitStack() as held:
            for _ in range(10):
                held.enter_context(open(os.devnull))
            return descriptors.count_used() - before

    # An emulator of this process may just be closing some of its own.
    eventually(lambda: counted_of_ten() == 10, "ten more descriptors")
    assert connections.HEAD_SECONDS >= 10
