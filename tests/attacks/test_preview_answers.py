"""Any response of a server in a sandbox reaches the visitor of its preview, or becomes a 502 with a reason; the
emulator never fails (Guard 16)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket

import pytest
from net_testing import RawSite, connect, emulator, read_all, site, status_of
from websockets.asyncio.client import connect as open_socket
from websockets.exceptions import InvalidStatus

from caged.emulator.wire import preview_http

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
SENSELESS = {
    "status 999": b"HTTP/1.1 999 What\r\nContent-Length: 0\r\n\r\n",
    "status 600": b"HTTP/1.1 600 What\r\nContent-Length: 0\r\n\r\n",
    "status 99": b"HTTP/1.1 99 What\r\nContent-Length: 0\r\n\r\n",
    "status 000": b"HTTP/1.1 000 What\r\nContent-Length: 0\r\n\r\n",
    "status 1000": b"HTTP/1.1 1000 What\r\n\r\n",
    "status without digits": b"HTTP/1.1 abc What\r\n\r\n",
    "length and chunked": OK + b"Content-Length: 3\r\n" + CHUNKED + b"\r\n5\r\nhello\r\n0\r\n\r\n",
    "chunked and length": OK + CHUNKED + b"Content-Length: 100\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "two lengths": OK + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "length below zero": OK + b"Content-Length: -1\r\n\r\n",
    "length without digits": OK + b"Content-Length: many\r\n\r\n",
    "unknown transfer coding": OK + b"Transfer-Encoding: gzip\r\n\r\n",
    "chunked twice": OK + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "nothing": b"",
    "an empty line": b"\r\n",
    "half a status line": b"HTTP/1.1 20",
    "half a head": OK + b"Content-Len",
    "another protocol": b"SSH-2.0-OpenSSH_9.6\r\n",
    "binary": bytes(range(256)),
    "HTTP/2": b"HTTP/2 200 OK\r\n\r\n",
    "NUL in a header": OK + b"X-A: a\0b\r\n\r\n",
    "line break in a header": OK + b"X-A: a\rb\r\n\r\n",
    "header without a name": OK + b": value\r\n\r\n",
    "space before the colon": OK + b"X-A : value\r\n\r\n",
    "endless head": OK + b"X-A: " + b"a" * 20000 + b"\r\n" + b"X-B: b\r\n" * 12000,
    "switch of protocols": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: other\r\nConnection: upgrade\r\n\r\n",
    "only interim answers": b"HTTP/1.1 100 Continue\r\n\r\n" * 50,
}
#: Unusual but unambiguous responses, which reach the visitor.
ODD = {
    "unnamed status": (b"HTTP/1.1 299 \r\nContent-Length: 2\r\n\r\nhi", 299, b"hi"),
    "status 599": (b"HTTP/1.1 599 x\r\nContent-Length: 2\r\n\r\nhi", 599, b"hi"),
    "HTTP/1.0 without a length": (b"HTTP/1.0 200 OK\r\n\r\nhi", 200, b"hi"),
    "interim answers first": (b"HTTP/1.1 103 Early\r\n\r\n" * 3 + OK + b"Content-Length: 2\r\n\r\nhi", 200, b"hi"),
    "204 with a length": (b"HTTP/1.1 204 None\r\nContent-Length: 5\r\n\r\n", 204, b""),
    "304": (b"HTTP/1.1 304 Same\r\nContent-Length: 5\r\n\r\n", 304, b""),
    "a broken address": (b"HTTP/1.1 302 x\r\nLocation: http://[:3000/\r\nContent-Length: 0\r\n\r\n", 302, b""),
    "the same length twice": (OK + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nhi", 200, b"hi"),
}


@pytest.mark.parametrize("shape", SENSELESS)
def test_invalid_response_becomes_502_with_reason(site: RawSite, shape: str) -> None:
    answer = site.ask("raw", SENSELESS[shape])
    assert answer.status_code == 502, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert "did not answer in HTTP: " in answer.json()["detail"]
    assert site.log() == []


@pytest.mark.parametrize("shape", ODD)
def test_unusual_response_reaches_visitor(site: RawSite, shape: str) -> None:
    raw, status, body = ODD[shape]
    answer = site.ask("raw", raw, follow_redirects=False)
    assert (answer.status_code, answer.content) == (status, body)
    assert site.log() == []


@pytest.mark.parametrize("sent", [b"", OK, b"HTTP/1.1 100 Continue\r\n\r\n", OK + b"X-A: b\r\n"])
def test_silent_server_becomes_504(site: RawSite, sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preview_http, "ANSWER_SECONDS", 0.3)
    answer = site.ask("hold", sent)
    assert answer.status_code == 504, answer.text
    assert "did not answer within 0.3 s" in answer.json()["detail"]


def test_slow_body_is_not_limited_by_head_timeout(site: RawSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """The timeout applies to the head only: an event stream may be silent for any time."""
    path = site.path_of("hold", OK + b"Content-Length: 9\r\n\r\nhi")
    for seconds in (0.2, 2.0, 8.0):  # on a busy machine the head may be late: it gets more time
        monkeypatch.setattr(preview_http, "ANSWER_SECONDS", seconds)
        with contextlib.closing(connect(site.url)) as visitor:
            visitor.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            begun = visitor.recv(65536)
            if status_of(begun) == 504:
                continue
            assert status_of(begun) == 200
            visitor.settimeout(4 * seconds)
            with pytest.raises(socket.timeout):  # TimeoutError from Python 3.10 on
                read_all(visitor)
            return
    pytest.fail("the head never arrived in time")


#: Requests of a visitor that are ambiguous, or that cannot be forwarded unchanged.
REQUESTS = {
    "length and chunked": (
        b"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    "CONNECT": b"CONNECT {path} HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a fragment in the path": b"GET {path}#x HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "an odd method": b"M-SEARCH {path} HTTP/1.1\r\nHost: localhost\r\n\r\n",
}


@pytest.mark.parametrize("shape", REQUESTS)
def test_unusual_request_is_answered(site: RawSite, shape: str) -> None:
    raw = REQUESTS[shape].replace(b"{path}", f"{site.path}/seen/".encode())
    with contextlib.closing(connect(site.url)) as visitor:
        visitor.sendall(raw.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))
        answer = read_all(visitor)
    assert status_of(answer) in (200, 400, 502), answer
    if shape == "length and chunked":
        assert b"content-length: 3" not in answer.lower()
    assert site.log() == []


HANDSHAKES = {
    "status 999": SENSELESS["status 999"],
    "status 600": SENSELESS["status 600"],
    "length and chunked": SENSELESS["length and chunked"],
    "nothing": b"",
    "another protocol": SENSELESS["another protocol"],
    "101 without a key": b"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    "101 with a wrong key": (
        b"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: eA==\r\n\r\n"
    ),
    "endless head": SENSELESS["endless head"],
}


async def refused_with(url: str) -> tuple[int, bytes]:
    with pytest.raises(InvalidStatus) as caught:
        async with open_socket(url, proxy=None, open_timeout=10):
            pass
    return caught.value.response.status_code, bytes(caught.value.response.body or b"")


def socket_url(site: RawSite, raw: bytes) -> str:
    return site.api.emulator.base_url.replace("http://", "ws://") + site.path_of("raw", raw)


@pytest.mark.parametrize("shape", HANDSHAKES)
def test_invalid_response_to_handshake_becomes_502(site: RawSite, shape: str) -> None:
    status, body = asyncio.run(refused_with(socket_url(site, HANDSHAKES[shape])))
    assert status == 502
    assert "took no WebSocket: " in json.loads(body)["detail"]
    assert site.log() == []


@pytest.mark.parametrize(("status", "body"), [(299, b"hi"), (418, b"\xff\xfe\x00 binary"), (599, b"")])
def test_refused_handshake_reaches_visitor(site: RawSite, status: int, body: bytes) -> None:
    raw = b"HTTP/1.1 %d x\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)
    assert asyncio.run(refused_with(socket_url(site, raw))) == (status, body)


def test_handshake_with_url_that_cannot_be_forwarded_is_answered(site: RawSite) -> None:
    with contextlib.closing(connect(site.url)) as visitor:
        visitor.sendall(
            f"GET {site.path}/raw/#x HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
        )
        assert status_of(read_all(visitor)) in (400, 502)
    assert site.log() == []
