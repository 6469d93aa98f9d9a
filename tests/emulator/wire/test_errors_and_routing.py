"""The shape of refusals, the headers of every response, and malformed requests: always an answer, never a 500."""

import re
import socket

import pytest
from cases import each
from emulator_testing import assert_problem, raw_request, segment
from internals import platform_of


@pytest.fixture(scope="module")
def emulator(process_emulator):
    """Nothing here depends on the isolation."""
    return process_emulator


JUNK = [
    b"{",
    b"}",
    b"null",
    b"[]",
    b"1",
    b"-",
    b'"text"',
    b"true",
    b"NaN",
    b"\x00",
    b"\xff\xfe",
    b"\xef\xbb\xbf{}",
    b"{'command': 'true'}",
    b'{"command": "true"} x',
    b'{"command": "true",}',
    b'{"command": true}',
    b'{"command": 1}',
    b'{"command": null}',
    b'{"command": ["true"]}',
    b'{"command": {"a": "b"}}',
    b'{"command": NaN}',
    b'{"command": "\xff"}',
    b'{"command": "\\ud800"}',
    b'{"command": "\\udc00\\ud800"}',
    b'{"command": "\\u12"}',
    b'{"command": "\x00"}',
    b'{"command": "\\u0000"}',
    b'{"command": "a\nb"}',
    b'{"command": ' + b"9" * 5000 + b"}",
    b'{"command": 1e999999}',
    b'{"\xc3\x28": 1}',
    b"[" * 100_000,
    b'{"command": ' * 10_000,
    b'{"command": "true", "extra": ' + b"[" * 5000 + b"]" * 5000 + b"}",
    b"command=true",
    b"",
    b"   ",
]
WITH_BODY = [
    ("POST", "/sandboxes"),
    ("POST", "/sandboxes/{box}/exec"),
    ("PUT", "/sandboxes/{box}/files/content?path=f"),
    ("POST", "/sandboxes/{box}/snapshots"),
    ("POST", "/snapshots/{snapshot}/restore"),
    ("POST", "/account/keys"),
]


@pytest.mark.shared_sandbox
@each("body", JUNK)
def test_a_malformed_body_is_a_400(api, box, body):
    assert_problem(api.post(f"/sandboxes/{box}/exec", content=body), 400)


@pytest.mark.shared_sandbox
@each(("method", "path"), WITH_BODY)
@each("body", [b"{", b"[]", b"null", b"\xff", b'{"x": "\\ud800"}', b"[" * 10_000])
def test_every_call_with_a_body_refuses_malformed_ones(api, box, method, path, body):
    path = path.format(box=box, snapshot=api.snapshot(box) if "{snapshot}" in path else "")
    assert_problem(api.request(method, path, content=body), 400, "body")


@pytest.mark.shared_sandbox
@pytest.mark.parametrize(
    "content_type", [None, "text/plain", "application/json; charset=latin-1", "a/b/c;;=", "multipart/form-data"]
)
def test_the_content_type_of_a_body_does_not_matter(api, box, content_type):
    headers = {} if content_type is None else {"Content-Type": content_type}
    response = api.post(f"/sandboxes/{box}/exec", content='{"command": "echo ä"}'.encode(), headers=headers)
    assert response.json()["output"] == "ä\n"


@pytest.mark.parametrize("path", ["/sandboxes/{box}/pause", "/sandboxes/{box}/resume"])
def test_a_post_without_body_and_content_type_works(api, box, path):
    if "resume" in path:
        api.post(f"/sandboxes/{box}/pause")
    assert api.post(path.format(box=box)).status_code == 204


@pytest.mark.parametrize("body", [b"{broken", b"x" * 3_000_000])
def test_body_of_an_operation_without_one_is_ignored(api, box, body):
    assert api.post(f"/sandboxes/{box}/pause", content=body).status_code == 204
    assert api.request("GET", f"/sandboxes/{box}", content=body).status_code == 200


def test_a_body_of_10_mib_is_taken(api, box):
    frame = b'{"content": ""}'
    body = frame[:-2] + b"x" * (10 * 1024 * 1024 - len(frame)) + frame[-2:]
    assert api.put(f"/sandboxes/{box}/files/content?path=big", content=body).status_code == 200
    assert api.output(box, "stat -c %s big") == f"{10 * 1024 * 1024 - len(frame)}\n"


@pytest.mark.parametrize("size", [10 * 1024 * 1024 + 1, 30 * 1024 * 1024])
def test_a_larger_body_is_a_413(api, box, size):
    assert_problem(api.post(f"/sandboxes/{box}/exec", content=b" " * size), 413, "10 MiB")
    assert api.status(box) == "running"


def test_a_larger_body_in_chunks_is_a_413(api, box):
    def pieces():
        for _ in range(300):
            yield b" " * 65536

    assert_problem(api.post(f"/sandboxes/{box}/exec", content=pieces()), 413)


def test_a_body_in_chunks_is_put_together(api, box):
    response = api.post(f"/sandboxes/{box}/exec", content=iter([b'{"comm', b"", b'and": "ec', b'ho joined"}']))
    assert response.json()["output"] == "joined\n"


@each(
    "path",
    ["/nothing", "/", "/sandboxes/", "/sandboxes//exec", "/sandboxes/a/b/c", "/snapshots", "//sandboxes", "/Sandboxes"],
)
@each("method", ["GET", "POST", "DELETE", "PATCH", "OPTIONS", "FOO"])
def test_an_unknown_path_is_the_routers_404(api, method, path):
    response = api.request(method, path)
    assert (response.status_code, response.text) == (404, "404 page not found\n")
    assert response.headers["content-type"].startswith("text/plain")


def test_outside_v1_is_nothing(api):
    assert api.get(f"{api.emulator.base_url}/sandboxes").status_code == 404
    assert api.get(api.emulator.base_url).status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/sandboxes", {"GET", "HEAD", "POST"}),
        ("OPTIONS", "/sandboxes", {"GET", "HEAD", "POST"}),
        ("TRACE", "/sandboxes", {"GET", "HEAD", "POST"}),
        ("FOO", "/sandboxes", {"GET", "HEAD", "POST"}),
        ("PATCH", "/sandboxes/x", {"GET", "HEAD", "DELETE"}),
        ("GET", "/sandboxes/x/exec", {"POST"}),
        ("HEAD", "/sandboxes/x/exec", {"POST"}),
        ("GET", "/sandboxes/x/pause", {"POST"}),
        ("POST", "/sandboxes/x/files/content", {"GET", "HEAD", "PUT"}),
        ("DELETE", "/account/keys", {"GET", "HEAD", "POST"}),
        ("GET", "/account/keys/x", {"DELETE"}),
        ("GET", "/snapshots/x/restore", {"POST"}),
    ],
)
def test_a_wrong_method_is_a_405_that_names_the_right_ones(api, method, path, allowed):
    response = api.request(method, path)
    assert response.status_code == 405
    assert {name.strip() for name in response.headers["allow"].split(",")} == allowed
    if method != "HEAD":
        assert_problem(response, 405, f"{method} is not allowed")


def test_head_is_get_without_the_body(api, box):
    head, get = api.head(f"/sandboxes/{box}"), api.get(f"/sandboxes/{box}")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == get.headers["content-length"]
    assert api.head("/sandboxes/unknown").status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("GET", "/account", {}),
        ("HEAD", "/account", {}),
        ("GET", "/account", {"Authorization": "x"}),
        ("GET", "/sandboxes/unknown", {}),
        ("POST", "/sandboxes", {}),
        ("GET", "/nothing", {}),
        ("PATCH", "/sandboxes", {}),
        ("GET", "/account", {"Origin": "https://evil.example"}),
        ("GET", "/account", {"Host": "evil.example"}),
        ("GET", "/snapshots/x/download/content", {}),
        ("DELETE", "/account/keys/x", {}),
    ],
)
def test_every_response_has_the_common_headers(api, method, path, headers):
    response = api.request(method, path, headers=headers)
    assert re.fullmatch(r"req_[0-9a-f]{16}", response.headers["x-request-id"])
    for name in ("limit", "remaining", "reset"):
        assert response.headers[f"x-ratelimit-{name}"].isdigit()


def test_a_204_has_the_common_headers_too(api, box):
    response = api.delete(f"/sandboxes/{box}")
    assert (response.status_code, response.content) == (204, b"")
    assert response.headers["x-request-id"]
    assert "content-type" not in response.headers


def test_request_ids_differ(api):
    assert len({api.get("/account").headers["x-request-id"] for _ in range(5)}) == 5


@pytest.mark.parametrize(
    "identifier", ["a/b", "..", "a/../b", "a b", "ä", "%", "%zz", "a?b", "a#b", "\x00", "\n", "'; rm -rf /", "x" * 5000]
)
def test_sandbox_id_with_unusual_characters_returns_404(api, identifier):
    if identifier == "..":  # the one that a client's URL library collapses itself
        path = f"/v1/sandboxes/{identifier}"
        answer = raw_get(api, path)
        assert b" 404 " in answer.splitlines()[0]
        return
    response = api.get(f"/sandboxes/{segment(identifier)}")
    assert_problem(response, 404, "sandbox not found")
    assert identifier in response.json()["detail"]


def test_an_encoded_id_is_decoded_after_routing(api, box):
    encoded = "".join(f"%{ord(letter):02x}" for letter in box)
    assert b'"id":"' + box.encode() in raw_get(api, f"/v1/sandboxes/{encoded}")


def test_an_encoded_slash_does_not_make_a_new_segment(api, box):
    assert_problem(api.get(f"/sandboxes/{box}%2Flogs"), 404, f"sandbox not found: {box}/logs")


@pytest.mark.parametrize(
    "path",
    [
        "/v1/sandboxes/%",
        "/v1/sandboxes/%f",
        "/v1/sandboxes/%gg",
        "/v1/sandboxes/%ff",
        "/v1/sandboxes/%ed%a0%80",
        "/v1/sandboxes/%00",
    ],
)
def test_an_invalid_escape_is_an_unknown_id(api, path):
    answer = raw_get(api, path)
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert b"application/problem+json" in answer


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"GET /v1/\xff\xfe HTTP/1.1", (400, 404)),
        (b"GET * HTTP/1.1", (404,)),
        (b"OPTIONS * HTTP/1.1", (404,)),
        (b"GET http://127.0.0.1/v1/account HTTP/1.1", (200, 404)),
        (b"GET v1/account HTTP/1.1", (400, 404)),
        (b"GET /v1/account", (400,)),
        (b"GET /v1/account HTTP/3.0", (200, 400, 505)),
        (b"GET  /v1/account HTTP/1.1", (400,)),
        (b"\x16\x03\x01\x02\x00", (400,)),
        (b"GET /v1/account?" + b"a" * 100_000 + b" HTTP/1.1", (200, 400)),
        (b"GET /v1/account?%zz=%ff&;&&=& HTTP/1.1", (200,)),
        (b"GET /v1/account#fragment HTTP/1.1", (200, 400, 404)),
    ],
    ids=lambda value: repr(value[:40]) if isinstance(value, bytes) else None,
)
def test_malformed_request_line_is_answered_with_a_status(api, line, status):
    answer = raw_request(api.emulator, line + b"\r\n" + headers_of(api) + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 ")
    assert int(answer.split()[1]) in status


@pytest.mark.parametrize(
    ("extra", "status"),
    [
        (b"X-Odd: \xff\xfe\r\n", 200),
        (b"X-Empty:\r\n", 200),
        (b"X-Twice: a\r\nX-Twice: b\r\n", 200),
        (b"x" * 300 + b": long name\r\n", 200),
        (b"No colon here\r\n", 400),
        (b"Bad name : x\r\n", 400),
        (b"Content-Length: many\r\n", 400),
        (b"Content-Length: -1\r\n", 400),
        (b"Content-Length: 1\r\nContent-Length: 2\r\n", 400),
        (b"Transfer-Encoding: gzip\r\n", 400),
        (b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: x\r\n", 400),
        (b"Expect: 200-magic\r\n", 200),
        (b"Cookie: " + b"c" * 5000 + b"\r\n", 200),
    ],
    ids=lambda value: repr(value[:40]) if isinstance(value, bytes) else None,
)
def test_unusual_header_is_answered_with_the_expected_status(api, extra, status):
    answer = raw_request(api.emulator, b"GET /v1/account HTTP/1.1\r\n" + headers_of(api) + extra + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 ")
    assert int(answer.split()[1]) == status


def test_http_1_0_is_answered(api):
    answer = raw_request(api.emulator, b"GET /v1/account HTTP/1.0\r\n" + headers_of(api) + b"\r\n")
    assert b" 200 " in answer.splitlines()[0]


def test_a_body_after_100_continue_is_taken(api, box):
    host, port = api.emulator.base_url[len("http://") :].split(":")
    body = b'{"command": "echo patient"}'
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(
            f"POST /v1/sandboxes/{box}/exec HTTP/1.1\r\n".encode()
            + f"Expect: 100-continue\r\nContent-Length: {len(body)}\r\n".encode()
            + headers_of(api)
            + b"\r\n"
        )
        assert connection.recv(1000).startswith(b"HTTP/1.1 100 ")
        connection.sendall(body)
        received = b""
        while piece := connection.recv(1000):
            received += piece
    assert b"patient" in received


def test_client_that_disconnects_in_the_middle_of_its_body_disturbs_no_other(api, box):
    host, port = api.emulator.base_url[len("http://") :].split(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(
            f"POST /v1/sandboxes/{box}/exec HTTP/1.1\r\nContent-Length: 100\r\n".encode()
            + headers_of(api)
            + b'\r\n{"comm'
        )
    assert api.status(box) == "running"
    assert not [line for line in api.emulator.log_tail(1000) if "failed" in line and box in line]


def test_two_requests_sent_at_once_are_both_answered(api):
    first = b"GET /v1/account HTTP/1.1\r\n" + headers_of(api).replace(b"Connection: close\r\n", b"") + b"\r\n"
    answer = raw_request(api.emulator, first + b"GET /v1/sandboxes HTTP/1.1\r\n" + headers_of(api) + b"\r\n")
    assert answer.count(b"HTTP/1.1 200 OK") == 2


@pytest.mark.parametrize(
    ("tail", "count"), [(None, 100), ("1", 1), ("7", 7), ("0", 100), ("-5", 100), ("1000", 110), ("9" * 50, 110)]
)
def test_the_newest_log_lines_come_oldest_first(api, box, tail, count):
    log = platform_of(api.emulator).recorder.log
    sandbox = platform_of(api.emulator).store.sandboxes[box]
    sandbox.logs.clear()
    for number in range(110):
        log(sandbox, f"line {number}")
    params = {"follow": "true"} if tail is None else {"tail": tail}
    lines = api.get(f"/sandboxes/{box}/logs", params=params).json()
    assert [line["message"] for line in lines] == [f"line {number}" for number in range(110 - count, 110)]
    assert set(lines[0]) == {"timestamp", "type", "message"}


def test_logs_are_never_more_than_a_thousand_lines(api, box):
    sandbox = platform_of(api.emulator).store.sandboxes[box]
    for number in range(1100):
        platform_of(api.emulator).recorder.log(sandbox, f"line {number}")
    lines = api.get(f"/sandboxes/{box}/logs", params={"tail": "5000"}).json()
    assert (len(lines), lines[-1]["message"]) == (1000, "line 1099")


@pytest.mark.shared_sandbox
@pytest.mark.parametrize("tail", ["abc", "", "1.5", "1e3", "ten", "%ff"])
def test_a_tail_that_is_not_a_number_is_a_400(api, box, tail):
    assert_problem(api.get(f"/sandboxes/{box}/logs", params={"tail": tail}), 400, "tail")


def headers_of(api):
    return f"Host: 127.0.0.1\r\nAuthorization: Bearer {api.key}\r\nConnection: close\r\n".encode()


def raw_get(api, path):
    return raw_request(api.emulator, f"GET {path} HTTP/1.1\r\n".encode() + headers_of(api) + b"\r\n")
