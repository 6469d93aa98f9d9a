"""Previews of servers in sandboxes: HTTP and WebSockets, whatever network the sandbox has."""

import asyncio
import base64
import json
import socket
from pathlib import Path

import httpx
import pytest
from emulator_testing import FakeClock, api_of, assert_problem, eventually, live
from internals import platform_of
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from caged.emulator import Emulator, EmulatorError

SERVER = (Path(__file__).parents[1] / "preview_server.py").read_text(encoding="utf-8")
PORT = 3000


def serve(api, box, port=PORT, address="127.0.0.1"):
    """Starts the server in the background; returns when it listens."""
    api.write(box, "preview_server.py", SERVER)
    api.output(box, f"rm -f listening; python3 -S preview_server.py {port} {address} > said 2>&1 & echo $! > pid")
    eventually(lambda: api.read(box, "listening").status_code == 200, "the server to listen")


class Site:
    """A visitor of one sandbox's preview."""

    def __init__(self, api, box, port=PORT):
        self.api, self.box = api, box
        self.url = f"{api.emulator.base_url}/_preview/{box}/{port}"

    def visit(self, path="/", method="GET", **options):
        return httpx.request(method, self.url + path, trust_env=False, verify=False, timeout=60, **options)

    def stream(self, path):
        return httpx.stream("GET", self.url + path, trust_env=False, verify=False, timeout=60)

    def socket(self, path="/ws", **options):
        return connect(self.url.replace("http://", "ws://") + path, proxy=None, max_size=None, **options)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def isolated(emulator):
    """An emulator whose sandboxes may have networks of their own."""
    if not platform_of(emulator).isolation.own_network:
        pytest.skip("sandboxes of process isolation share the host's network")
    return emulator


@pytest.fixture(scope="module")
def site(isolated):
    """A server in a sandbox without a network to the outside, shared by tests that only visit it."""
    with api_of(isolated) as api:
        box = api.sandbox(network_mode="none", timeout=86400)
        serve(api, box)
        yield Site(api, box)
    isolated.remove_account(api.account_id)


@pytest.fixture
def own_site(isolated, new_api):
    """The same for one test, which changes the sandbox, its server or its ports."""
    api = new_api(isolated)
    box = api.sandbox(network_mode="none")
    serve(api, box)
    return Site(api, box)


@pytest.fixture(scope="module")
def emulator_at():
    """Returns the emulator of an isolation level, started when it is first needed. Skips where it cannot be had."""
    started = {}

    def at(level):
        if level not in started:
            try:
                started[level] = Emulator(isolation=level).start()
            except EmulatorError as error:
                pytest.skip(str(error))
        return started[level]

    yield at
    for running in started.values():
        running.stop()


def test_preview_page_without_an_api_key_is_answered(site):
    answer = site.visit("/some/page?a=1&b=%2F")
    assert answer.status_code == 200
    seen = answer.json()
    assert (seen["method"], seen["path"], seen["body"]) == ("GET", "/some/page?a=1&b=%2F", "")
    assert (site.api.get(f"/sandboxes/{site.box}/ports").json()[0]["preview_url"]) == f"{site.url}/"


def test_request_names_localhost_as_its_host_and_the_visitor_in_forwarded_headers(site):
    headers = site.visit(headers={"X-Mine": "yes", "X-Forwarded-For": "6.6.6.6"}).json()["headers"]
    assert headers["Host"] == f"localhost:{PORT}"
    assert headers["X-Mine"] == "yes"
    assert headers["X-Forwarded-For"] == "127.0.0.1"
    assert headers["X-Forwarded-Host"] == site.api.emulator.base_url[len("http://") :]
    assert headers["X-Forwarded-Prefix"] == f"/_preview/{site.box}/{PORT}"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PURGE"])
def test_any_method_with_a_body(site, method):
    seen = site.visit("/x", method, content=b"\xff\x00body").json()
    assert (seen["method"], seen["body"]) == (method, "\xff\x00body")


def test_a_chunked_body_arrives_whole(site):
    pieces = [b"a" * 100_000, b"b", b"c" * 100_000]
    assert site.visit("/x", "POST", content=iter(pieces)).json()["body"] == b"".join(pieces).decode()


def test_a_head_request_has_a_length_and_no_body(site):
    answer = site.visit("/big", "HEAD")
    assert (answer.headers["content-length"], answer.content) == ("5000000", b"")


def test_status_and_headers_are_the_servers(site):
    answer = site.visit("/status")
    assert (answer.status_code, answer.text) == (418, "teapot")
    assert (answer.headers["x-odd"], answer.headers["set-cookie"]) == ("yes", "a=b")
    assert len(answer.headers.get_list("date")) == 1
    assert "x-request-id" not in answer.headers


def test_answer_of_five_megabytes_arrives_whole_in_a_preview(site):
    assert site.visit("/big").content == b"x" * 5_000_000


def test_first_piece_of_a_preview_answer_arrives_before_its_end(own_site):
    with own_site.stream("/stream") as answer:
        pieces = answer.iter_raw()
        assert next(pieces) == b"first"
        own_site.api.write(own_site.box, "go", "")
        assert b"".join(pieces) == b"second"


def test_preview_answer_that_breaks_off_breaks_off_for_the_visitor(site):
    with pytest.raises(httpx.RemoteProtocolError):
        site.visit("/cut")


def test_the_address_without_a_slash_leads_to_the_one_with(site):
    answer = site.visit("?a=1")
    assert (answer.status_code, answer.headers["location"]) == (307, f"/_preview/{site.box}/{PORT}/?a=1")


@pytest.mark.parametrize(
    ("to", "shown"),
    [
        ("/login?x=1", "{prefix}/login?x=1"),
        (f"http://localhost:{PORT}/a/b", "{prefix}/a/b"),
        ("relative", "relative"),
        ("https://example.invalid/x", "https://example.invalid/x"),
        ("//example.invalid/x", "//example.invalid/x"),
        ("http://[", "http://["),
    ],
)
def test_a_redirect_stays_in_the_preview(site, to, shown):
    answer = site.visit("/redirect", headers={"X-To": to})
    assert answer.headers["location"] == shown.format(prefix=f"/_preview/{site.box}/{PORT}")


def test_path_of_a_preview_by_host_name_is_unchanged(site):
    host = f"{site.box}-{PORT}.localhost"
    port = site.api.emulator.base_url.rpartition(":")[2]
    url = f"{site.api.emulator.base_url}/v1/sandboxes"
    answer = httpx.get(url, headers={"Host": f"{host}:{port}"}, trust_env=False, verify=False, timeout=60)
    assert answer.json()["path"] == "/v1/sandboxes"
    assert "X-Forwarded-Prefix" not in answer.json()["headers"]


def test_a_preview_keeps_its_sandbox_awake(own_emulator, new_api):
    emulator = own_emulator()
    api, clock = new_api(emulator), FakeClock(emulator)
    box, port = api.sandbox(timeout=60), PORT
    if platform_of(emulator).isolation.own_network:
        box = api.sandbox(timeout=60, network_mode="none")
    serve(api, box, port)
    for _ in range(3):
        clock.advance(50)
        assert Site(api, box).visit().status_code == 200
        eventually(lambda: not live(emulator, box).calls, "the visit to end")
    clock.advance(50)
    assert api.status(box) == "running"
    clock.advance(20)
    assert api.status(box) == "paused"
    assert_problem(Site(api, box).visit(), 409, "paused", "sandbox_not_running")


# --- refusals


def test_what_is_not_there_is_a_404(own_site):
    assert_problem(Site(own_site.api, "cage_unknown0").visit(), 404, "sandbox not found")
    assert_problem(Site(own_site.api, own_site.box, 8080).visit(), 404, "start a server")
    serve(own_site.api, own_site.box, 5432)
    assert_problem(Site(own_site.api, own_site.box, 5432).visit(), 404, "has no preview")


@pytest.mark.parametrize("path", ["/_preview", "/_preview/", "/_preview/x", "/_preview/x/", "/_preview/x/abc/"])
def test_what_is_not_a_preview_is_an_unknown_route(api, path):
    answer = httpx.get(api.emulator.base_url + path, trust_env=False, verify=False, timeout=60)
    assert (answer.status_code, answer.text) == (404, "404 page not found\n")


def test_a_server_that_is_gone_is_a_404(own_site):
    own_site.api.output(own_site.box, "kill -9 $(cat pid)")
    eventually(lambda: own_site.visit().status_code == 404, "the port to go")


def test_a_server_that_does_not_speak_http_is_a_502(own_site):
    lines = [
        "import socket",
        "listening = socket.create_server(('127.0.0.1', 8000))",
        "open('raw', 'w')",
        "while True: listening.accept()[0].send(b'220 hello\\r\\n\\r\\n')",
    ]
    own_site.api.write(own_site.box, "raw.py", "\n".join(lines))
    own_site.api.output(own_site.box, "python3 raw.py > /dev/null 2>&1 &")
    eventually(lambda: own_site.api.read(own_site.box, "raw").status_code == 200, "the server to listen")
    assert_problem(Site(own_site.api, own_site.box, 8000).visit(), 502, "did not answer in HTTP")


def test_request_from_a_foreign_page_is_refused(site):
    assert_problem(site.visit(headers={"Origin": "https://evil.invalid"}), 403, "Origin")


def basic(text):
    return {"Authorization": "Basic " + base64.b64encode(text.encode()).decode()}


def test_protected_port_requires_its_password(own_site):
    protect = own_site.api.post(f"/sandboxes/{own_site.box}/ports/{PORT}/protect", json={"password": "opensesame"})
    assert protect.status_code == 200
    for headers in ({}, basic("user:wrong"), basic("opensesame"), {"Authorization": "Basic §"}, {"Authorization": "x"}):
        answer = own_site.visit(headers={name: value.encode("utf-8") for name, value in headers.items()})
        assert_problem(answer, 401, "protected")
        assert answer.headers["www-authenticate"].startswith("Basic realm=")
    answer = own_site.visit(headers=basic("anybody:opensesame"))
    assert answer.status_code == 200
    assert "Authorization" not in answer.json()["headers"]


def test_an_unprotected_port_gets_the_visitors_authorization(site):
    assert site.visit(headers={"Authorization": "Bearer mine"}).json()["headers"]["Authorization"] == "Bearer mine"


def test_the_rate_of_a_preview_is_limited_only_with_a_tier(own_emulator, new_api):
    emulator = own_emulator(tier="pro")
    api, clock = new_api(emulator), FakeClock(emulator)
    clock.begin_minute()
    box = api.sandbox(**({"network_mode": "none"} if platform_of(emulator).isolation.own_network else {}))
    serve(api, box)
    visitor = Site(api, box)
    assert {visitor.visit().status_code for _ in range(100)} == {200}
    answer = visitor.visit()
    assert_problem(answer, 429, "100 requests per minute")
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    clock.offset += 60
    assert visitor.visit().status_code == 200


def test_without_a_tier_it_is_not(site):
    assert {site.visit().status_code for _ in range(110)} == {200}


# --- wherever the sandbox's network is


@pytest.mark.parametrize("level", ["process", "namespace", "bwrap"])
def test_in_the_hosts_network(emulator_at, new_api, monkeypatch, level):
    api = new_api(emulator_at(level))
    port = free_port()
    monkeypatch.setattr("caged.emulator.platform.limits.HTTP_PORTS", (port,))
    box = api.sandbox()
    serve(api, box, port)
    assert Site(api, box, port).visit("/here").json()["path"] == "/here"


@pytest.mark.parametrize(
    ("level", "fields"),
    [("namespace", {}), ("namespace", {"network_mode": "allowlist", "allowlist": ["x.invalid"]}), ("bwrap", {})],
)
def test_in_a_network_of_its_own(emulator_at, new_api, level, fields):
    api = new_api(emulator_at(level))
    box = api.sandbox(**{"network_mode": "none", **fields})
    serve(api, box)
    assert Site(api, box).visit("/here").json()["path"] == "/here"


@pytest.mark.skipif(not Path("/proc/net/if_inet6").exists(), reason="this machine has no IPv6")
@pytest.mark.parametrize("address", ["0.0.0.0", "::1", "::"])
def test_whatever_address_the_server_listens_on(isolated, new_api, address):
    api = new_api(isolated)
    box = api.sandbox(network_mode="none")
    serve(api, box, PORT, address)
    assert Site(api, box).visit("/here").json()["path"] == "/here"


def test_a_destroyed_sandboxs_preview_ends(own_site):
    with own_site.stream("/stream") as answer:
        pieces = answer.iter_raw()
        assert next(pieces) == b"first"
        own_site.api.delete(f"/sandboxes/{own_site.box}")
        with pytest.raises(httpx.RemoteProtocolError):
            list(pieces)
    assert_problem(own_site.visit(), 404, "sandbox not found")


def test_visitor_that_disconnects_leaves_nothing_behind(own_site):
    sandbox = live(own_site.api.emulator, own_site.box)
    with own_site.stream("/stream") as answer:
        pieces = answer.iter_raw()  # kept: the answer is closed when this goes
        assert next(pieces) == b"first"
        assert sandbox.calls == 1
    eventually(lambda: sandbox.calls == 0, "the emulator to close its side")


# --- WebSockets


def test_websocket_of_a_preview_passes_messages_both_ways(site):
    async def talk():
        async with site.socket("/ws?q=1", subprotocols=["chat", "other"], additional_headers={"Cookie": "a=b"}) as ws:
            assert ws.subprotocol == "chat"
            assert json.loads(await ws.recv()) == ["/ws?q=1", "a=b", f"localhost:{PORT}"]
            for message in ("hello", "ünï", b"\x00\xff", "", b"", "x" * 2_000_000):
                await ws.send(message)
                assert await ws.recv() == message

    asyncio.run(asyncio.wait_for(talk(), 10))


def test_websocket_closed_by_the_server_has_its_code_and_reason_at_the_visitor(site):
    async def talk():
        async with site.socket() as ws:
            await ws.recv()
            await ws.send("bye")
            with pytest.raises(ConnectionClosed) as closed:
                await ws.recv()
            assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4001, "so long")

    asyncio.run(asyncio.wait_for(talk(), 10))


def test_websocket_closed_by_the_visitor_has_its_code_at_the_server(own_site):
    async def talk():
        async with own_site.socket() as ws:
            await ws.recv()
            await ws.close(4002, "enough")

    asyncio.run(asyncio.wait_for(talk(), 10))
    eventually(lambda: own_site.api.read(own_site.box, "closed").text == "4002", "the server to receive the close")


def test_a_handshake_that_the_server_refuses_is_refused(site):
    async def talk():
        async with site.socket("/no"):
            pass

    with pytest.raises(InvalidStatus) as refused:
        asyncio.run(asyncio.wait_for(talk(), 10))
    assert (refused.value.response.status_code, refused.value.response.body) == (404, b"not here")


def test_a_protected_ports_websocket_needs_the_password(own_site):
    own_site.api.post(f"/sandboxes/{own_site.box}/ports/{PORT}/protect", json={"password": "opensesame"})

    async def talk(headers):
        async with own_site.socket(additional_headers=headers) as ws:
            return json.loads(await ws.recv())

    with pytest.raises(InvalidStatus) as refused:
        asyncio.run(asyncio.wait_for(talk({}), 10))
    assert refused.value.response.status_code == 401
    assert asyncio.run(asyncio.wait_for(talk(basic("x:opensesame")), 10))[0] == "/ws"
