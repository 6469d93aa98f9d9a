"""The allowlist proxy answers every request, also with an invalid host, and never fails with a traceback (Guard 16)."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator

import pytest
from cases import each
from emulator_testing import api_of
from net_testing import emulator

from caged.emulator import Emulator

ALLOWED = ["*.example", "a..x", "a" * 64 + ".x", "b\u00fccher.x", "xn--a.x", "x\0y.x", "unresolvable.invalid", "::1:1"]
CONNECT = "CONNECT {host}:443 HTTP/1.1\r\n\r\n"
HOSTS = {
    "an empty label": "a..x",
    "an empty label at the start": ".x",
    "only dots": "...",
    "a label of 64": "a" * 64 + ".x",
    "a label of 1000": "a" * 1000 + ".example",
    "a name of 300": ".".join(["abcdefghi"] * 30) + ".example",
    "a NUL": "x\0y.x",
    "a NUL at the end": "a.example\0",
    "not ASCII": "b\u00fccher.x",
    "not UTF-8": "b\xfccher.example",
    "letters that normalise to a slash": "a\u2100.example",
    "a space": "a b.example",
    "a tab": "a\tb.example",
    "a hyphen at the start": "-a.example",
    "an open bracket": "[::1",
    "a broken IPv6 address": "[::g]",
    "a control character": "a\x7f.example",
    "a percent sign": "a%00.example",
    "a star": "*.example",
    "a quote": "a'\"<>.example",
}
#: Name: (request, status), for other hosts and ports, and for requests that are not HTTP.
OTHERS = {
    "bad punycode, not listed": ("CONNECT xn--\x61.y:443 HTTP/1.1\r\n\r\n", 403),
    "bad punycode, listed": ("CONNECT xn--a.x:443 HTTP/1.1\r\n\r\n", 502),
    "listed, but there is none": ("CONNECT unresolvable.invalid:443 HTTP/1.1\r\n\r\n", 502),
    "not listed": ("CONNECT example.com:443 HTTP/1.1\r\n\r\n", 403),
    "a port over 65535": ("CONNECT a.example:70000 HTTP/1.1\r\n\r\n", 400),
    "a port without digits": ("CONNECT a.example:http HTTP/1.1\r\n\r\n", 400),
    "port 0": ("CONNECT a.example:0 HTTP/1.1\r\n\r\n", 403),
    "no port": ("CONNECT a.example HTTP/1.1\r\n\r\n", 400),
    "no host": ("CONNECT :443 HTTP/1.1\r\n\r\n", 400),
    "a path": ("GET / HTTP/1.1\r\n\r\n", 400),
    "https in the clear": ("GET https://a.example/ HTTP/1.1\r\n\r\n", 400),
    "another scheme": ("GET file:///etc/passwd HTTP/1.1\r\n\r\n", 400),
    "http and a bad host": ("GET http://a..x/ HTTP/1.1\r\n\r\n", 400),
    "http and a bad port": ("GET http://a.example:x/ HTTP/1.1\r\n\r\n", 400),
    "another version": ("CONNECT a.example:443 HTTP/9\r\n\r\n", 400),
    "no version": ("CONNECT a.example:443\r\n\r\n", 400),
    "two spaces": ("CONNECT  a.example:443 HTTP/1.1\r\n\r\n", 400),
    "an empty line": ("\r\n\r\n", 400),
    "another protocol": ("\x16\x03\x01\x02\x00\r\n\r\n", 400),
    "an endless head": ("GET http://a.example/ HTTP/1.1\r\nX: " + "a" * 200000, 431),
}
REQUESTS = {**{name: (CONNECT.format(host=host), 400) for name, host in HOSTS.items()}, **OTHERS}

ASK = """
import base64, json, socket
answers = {}
for name, request in json.load(open("requests.json")).items():
    with socket.create_connection(("127.0.0.1", 49128), 10) as proxy:
        try:
            proxy.sendall(base64.b64decode(request))
            answer = b""
            while True:
                piece = proxy.recv(65536)
                if not piece:
                    break
                answer += piece
        except OSError as error:
            answer = answer or repr(error).encode()
    answers[name] = answer.decode("utf-8", "replace")
print(json.dumps(answers))
"""


def encoded(request: str) -> bytes:
    return request.encode("latin-1") if "\xfc" in request and "b\xfccher.example" in request else request.encode()


@pytest.fixture(scope="module")
def answers(emulator: Emulator) -> Iterator[dict[str, str]]:
    """The response to each request, in a sandbox whose allowlist includes the invalid hosts."""
    if emulator.isolation == "process":
        pytest.skip("network modes need a network namespace")
    with api_of(emulator) as api:
        allowlist = [name for name in ALLOWED if "\0" not in name]
        box = api.sandbox(network_mode="allowlist", allowlist=allowlist)
        requests = {name: base64.b64encode(encoded(raw)).decode() for name, (raw, _) in REQUESTS.items()}
        api.write(box, "requests.json", json.dumps(requests))
        api.write(box, "ask.py", ASK)
        yield json.loads(api.output(box, "python3 ask.py"))
        emulator.remove_account(api.account_id)


@each("name", REQUESTS)
def test_every_request_is_answered(answers: dict[str, str], name: str) -> None:
    status = REQUESTS[name][1]
    head, _, body = answers[name].partition("\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} "), answers[name]
    assert body.strip()


def test_emulator_logs_no_error(answers: dict[str, str], emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    assert "Traceback" not in "\n".join(emulator.log_tail(1000))
    assert [record for record in caplog.get_records("setup") if record.name == "asyncio"] == []
