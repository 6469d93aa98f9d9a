"""A client that closes its sending side gets its response at once: the full one to a complete request, 400 to an
incomplete one. When a client disconnects, its command is killed."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import zlib
from typing import Optional

import pytest
from emulator_testing import Api, eventually
from net_testing import SECONDS, api, connect, emulator, read_all

from caged.emulator import Emulator
from caged.emulator.cage.peers import open_clients

HEALTH = b"GET /v1/health HTTP/1.1\r\nHost: localhost\r\n\r\n"


def post(api: Api, path: str, body: bytes, headers: str = "", cut: Optional[int] = None) -> bytes:
    """A request as bytes. `cut`: how many bytes of the body are sent."""
    length = "" if "chunked" in headers else f"Content-Length: {len(body)}\r\n"
    head = f"POST /v1{path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {api.key}\r\n{length}{headers}\r\n"
    return head.encode() + (body if cut is None else body[:cut])


def send_and_close(emulator: Emulator, *parts: bytes) -> bytes:
    """Send, close the sending side, and return everything until the emulator closes the connection."""
    with connect(emulator.base_url) as sock:
        for part in parts:
            sock.sendall(part)
        sock.shutdown(socket.SHUT_WR)
        return read_all(sock)


def statuses(answer: bytes) -> list[int]:
    return [int(number) for number in re.findall(rb"HTTP/1\.1 (\d{3})", answer)]


#: What a client sends before it closes its sending side, and the statuses of the responses.
INCOMPLETE: dict[str, tuple[bytes, list[int]]] = {
    "nothing": (b"", []),
    "one letter": (b"G", [400]),
    "a method": (b"GET ", [400]),
    "a line without a version": (b"GET /v1/health", [400]),
    "a line without a version, ended": (b"GET /v1/health\n", [400]),
    "a request of HTTP/0.9": (b"GET /v1/health\r\n\r\n", [400]),
    "a line without its end": (b"GET /v1/health HTTP/1.1", [400]),
    "half an end of line": (b"GET /v1/health HTTP/1.1\r", [400]),
    "a line": (b"GET /v1/health HTTP/1.1\r\n", [400]),
    "half a header": (b"GET /v1/health HTTP/1.1\r\nHost: loc", [400]),
    "a head without its end": (HEALTH[:-2], [400]),
    "a head without its last byte": (HEALTH[:-1], [400]),
    "an empty line": (b"\r\n", [400]),
    "what is not HTTP": (b"\x16\x03\x01\x02\x00\x01\x00", [400]),
    "a request and a half": (HEALTH + HEALTH[:20], [200, 400]),
    "a request and an empty line": (HEALTH + b"\r\n", [200, 400]),
    "two requests and a letter": (HEALTH + HEALTH + b"G", [200, 200, 400]),
}


@pytest.mark.parametrize("shape", INCOMPLETE)
def test_half_close_in_head_is_answered_at_once(emulator, shape) -> None:
    sent, expected = INCOMPLETE[shape]
    sent = sent.replace(b"/v1/health", b"/healthz")
    begun = time.monotonic()
    answer = send_and_close(emulator, sent)
    assert statuses(answer) == expected, answer
    assert time.monotonic() - begun < 15  # half of the timeout of an open connection
    assert b"ended before" in answer or b"not valid HTTP" in answer or not expected


@pytest.mark.parametrize(
    ("body", "headers", "cut"),
    [
        (b'{"template":"minimal"}', "", 0),
        (b'{"template":"minimal"}', "", 9),
        (b'{"template":"minimal"}', "", 21),
        (b"5\r\n{}   \r\n", "Transfer-Encoding: chunked\r\n", None),
        (b"5\r\n{} ", "Transfer-Encoding: chunked\r\n", None),
        (b"", "Transfer-Encoding: chunked\r\n", None),
        (b"2\r\n{}\r\n0\r\n", "Transfer-Encoding: chunked\r\n", None),
    ],
)
def test_half_close_in_body_is_refused_at_once_without_effect(emulator, api, body, headers, cut) -> None:
    begun = time.monotonic()
    answer = send_and_close(emulator, post(api, "/sandboxes", body, headers, cut))
    assert statuses(answer) == [400], answer
    assert b"the request ended before its body was complete" in answer
    assert time.monotonic() - begun < 15
    assert api.get("/sandboxes").json() == []


@pytest.mark.parametrize("pieces", ["whole", "in two parts", "byte by byte"])
@pytest.mark.parametrize("close", ["", "Connection: close\r\n"])
def test_half_close_after_request_returns_full_response(emulator, api, pieces, close) -> None:
    sent = f"GET /v1/sandboxes HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {api.key}\r\n{close}\r\n".encode()
    size = {"whole": len(sent), "in two parts": 20, "byte by byte": 1}[pieces]
    answer = send_and_close(emulator, *(sent[at : at + size] for at in range(0, len(sent), size)))
    assert statuses(answer) == [200]
    assert answer.endswith(b"\r\n\r\n[]")


def test_half_close_after_http_1_0_request_returns_full_response(emulator) -> None:
    assert statuses(send_and_close(emulator, b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n")) == [200]


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b'{"template":"minimal"}', ""),
        (b'16\r\n{"template":"minimal"}\r\n0\r\n\r\n', "Transfer-Encoding: chunked\r\n"),
        (b'{"template":"minimal"}', "Expect: 100-continue\r\n"),
    ],
)
def test_half_close_after_create_creates_sandbox(emulator, api, body, headers) -> None:
    answer = send_and_close(emulator, post(api, "/sandboxes", body, headers))
    assert statuses(answer)[-1] == 201, answer
    made = json.loads(answer.partition(b"{")[1] + answer.partition(b"{")[2])
    assert [box["id"] for box in api.get("/sandboxes").json()] == [made["id"]]


def test_half_close_during_slow_command_returns_complete_output(emulator, api) -> None:
    box = api.sandbox()
    command = json.dumps({"command": "sleep 0.5; head -c 3000000 /dev/zero | tr '\\0' x; echo end"}).encode()
    answer = send_and_close(emulator, post(api, f"/sandboxes/{box}/exec", command))
    assert statuses(answer) == [200]
    output = json.loads(answer.partition(b"\r\n\r\n")[2])["output"]
    assert len(output) == 3_000_004
    assert output.endswith("end\n")


def test_half_close_after_pipelined_requests_answers_all(emulator, api) -> None:
    box = api.sandbox()
    slow = post(api, f"/sandboxes/{box}/exec", b'{"command":"sleep 0.3; echo slow"}')
    quick = post(api, f"/sandboxes/{box}/exec", b'{"command":"echo quick"}')
    answer = send_and_close(emulator, slow + quick + HEALTH.replace(b"/v1/health", b"/healthz"))
    assert statuses(answer) == [200, 200, 200]
    assert answer.index(b"slow") < answer.index(b"quick")


def test_half_close_after_handshake_is_answered(emulator, api) -> None:
    box = api.sandbox()
    handshake = (
        f"GET /v1/sandboxes/{box}/terminal?token={api.key} HTTP/1.1\r\nHost: localhost\r\n"
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    ).encode()
    refused = handshake.replace(b"?token", b"?other")
    assert statuses(send_and_close(emulator, refused)) == [401]
    assert statuses(send_and_close(emulator, handshake)) in ([101], [])  # a WebSocket closes when either side does
    assert api.output(box, "echo on") == "on\n"


# --- clients that disconnect


def long_sleep(box: str) -> str:
    """A command that no other test on this machine runs."""
    return f"sleep {10_000_000 + zlib.crc32(box.encode())}"


def running_count(api: Api, box: str) -> int:
    return int(api.output(box, f"pgrep -fc '^{long_sleep(box)}'; true"))


def exec_of(api: Api, box: str) -> bytes:
    return post(api, f"/sandboxes/{box}/exec", json.dumps({"command": long_sleep(box)}).encode())


def start_command(emulator: Emulator, api: Api, box: str) -> socket.socket:
    sock = connect(emulator.base_url)
    sock.sendall(exec_of(api, box))
    eventually(lambda: running_count(api, box), "the command to start")
    return sock


def close(sock: socket.socket) -> None:
    sock.close()


def half_close_then_close(sock: socket.socket) -> None:
    sock.shutdown(socket.SHUT_WR)
    time.sleep(0.3)  # long enough for several checks of the emulator
    sock.close()


def shut_down_both_sides(sock: socket.socket) -> None:
    sock.shutdown(socket.SHUT_RDWR)
    sock.close()


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    sock.close()


@pytest.mark.parametrize("end", [close, half_close_then_close, shut_down_both_sides, reset])
def test_command_is_killed_when_client_disconnects(emulator, api, end) -> None:
    box = api.sandbox()
    sock = start_command(emulator, api, box)
    end(sock)
    eventually(lambda: not running_count(api, box), "the command to be killed")


def test_command_continues_after_half_close(emulator, api) -> None:
    box = api.sandbox()
    with start_command(emulator, api, box) as sock:
        sock.shutdown(socket.SHUT_WR)
        sock.settimeout(1)
        with pytest.raises(socket.timeout):
            sock.recv(1)
        assert running_count(api, box)
        api.run(box, f"pkill -f '^{long_sleep(box)}'")
        sock.settimeout(SECONDS)
        assert statuses(read_all(sock)) == [200]


def test_command_is_killed_when_client_process_dies_after_half_close(emulator, api) -> None:
    """The client is another process, so that the kernel closes its connection."""
    box = api.sandbox()
    program = (
        "import socket, sys, time\n"
        "sock = socket.create_connection((sys.argv[1], int(sys.argv[2])))\n"
        "sock.sendall(sys.stdin.buffer.read()); sock.shutdown(socket.SHUT_WR); sock.recv(1)\n"
    )
    with connect(emulator.base_url) as known:
        host, port = known.getpeername()[:2]
    client = subprocess.Popen([sys.executable, "-c", program, host, str(port)], stdin=subprocess.PIPE)
    try:
        command = exec_of(api, box)
        client.stdin.write(command)  # type: ignore[union-attr]
        client.stdin.close()  # type: ignore[union-attr]
        eventually(lambda: running_count(api, box), "the command to start")
        client.send_signal(signal.SIGKILL)
        eventually(lambda: not running_count(api, box), "the command to be killed")
    finally:
        client.kill()
        client.wait()


def test_commands_of_many_disconnected_clients_are_killed(emulator, api) -> None:
    box = api.sandbox()
    socks = [connect(emulator.base_url) for _ in range(20)]
    for sock in socks:
        sock.sendall(exec_of(api, box))
        sock.shutdown(socket.SHUT_WR)
    eventually(lambda: running_count(api, box) == 20, "the commands to start")
    for sock in socks:
        sock.close()
    eventually(lambda: not running_count(api, box), "the commands to be killed")


@pytest.mark.skipif(not os.path.exists("/proc/self/net/tcp"), reason="reads the kernel's table of sockets")
def test_open_clients_lists_socket_until_its_process_closes_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        accepted, _ = server.accept()
        with accepted:
            ends = (client.getsockname(), accepted.getsockname())
            assert open_clients({ends}) == {ends}
            client.shutdown(socket.SHUT_WR)
            assert accepted.recv(1) == b""
            assert open_clients({ends}) == {ends}
            client.close()
            assert open_clients({ends}) == set()
            assert open_clients({(("not an address", 1), ("", 0))}) == set()
