"""How a socket is opened, with what, and what a refusal becomes."""

import asyncio
import json
import time
import traceback
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
from cases import each
from sdk_driver import KEY, SocketServer, js, problem
from socket_driver import TICKET, Peer, refusal, stream

import caged
from caged import CagedConnectionError, CagedError, CagedTimeoutError


def answer_initialize(peer):
    if "/mcp" in peer.requests[-1].path:
        peer.send({"jsonrpc": "2.0", "id": peer.read()["id"], "result": {}})
    peer.read_until_closed()


async def open_terminal(client):
    async with await client.sandboxes.terminal("a/b", rows=30, cols=100):
        pass


async def open_stream(client):
    async with await client.sandboxes.exec_stream("a/b", "ls"):
        pass


async def open_mcp(client):
    async with await client.sandboxes.mcp("a/b"):
        pass


OPENERS = [
    (open_terminal, "/terminal", "terminal", [("rows", "30"), ("cols", "100")]),
    (open_stream, "/terminal", "terminal", []),
    (open_mcp, "/mcp", "mcp", []),
]


@pytest.mark.parametrize(("use", "path", "subprotocol", "query"), OPENERS)
def test_the_handshake_has_path_subprotocol_and_the_ticket_as_its_last_parameter(
    sockets, use, path, subprotocol, query
):
    with Peer(answer_initialize) as peer:
        sockets.run(peer, use, base_url=f"{peer.url}/pre//")
    (request,) = peer.requests
    assert urlsplit(request.path).path == f"/pre/v1/sandboxes/a%2Fb{path}"
    assert parse_qsl(urlsplit(request.path).query) == [*query, ("token", TICKET)]
    assert request.headers.get_all("Sec-WebSocket-Protocol") == [subprotocol]
    assert "Authorization" not in request.headers
    assert peer.codes == [1000]
    (ticket,) = sockets.tickets
    assert (ticket.method, ticket.url.path) == ("POST", "/pre/v1/auth/socket-ticket")
    assert ticket.headers["authorization"] == f"Bearer {KEY}"


def test_a_terminal_has_24_rows_and_80_columns_unless_given(sockets):
    async def use(client):
        await (await client.sandboxes.terminal("cage_1")).close()

    with Peer(answer_initialize) as peer:
        sockets.run(peer, use)
    assert peer.requests[0].path.endswith("?rows=24&cols=80&token=caged_wst_a.b%2Bc%2Fd")


def test_every_socket_gets_a_ticket_of_its_own(sockets):
    tickets = iter(["one", "two"])

    async def use(client):
        await open_terminal(client)
        await open_terminal(client)

    with Peer(answer_initialize) as peer:
        sockets.run(peer, use, ticket=lambda request: js({"ticket": next(tickets)})(request))
    assert [parse_qsl(urlsplit(request.path).query)[-1][1] for request in peer.requests] == ["one", "two"]


@pytest.mark.parametrize(
    "ticket",
    [
        problem(404, detail="no such route"),
        httpx.Response(404, text="404 page not found"),
        problem(404, reason={"code": "plan_limit_reached"}),
        js({"ticket": ""}),
        js({"ticket": None}),
        js({}),
    ],
)
def test_a_server_without_tickets_gets_the_key(sockets, ticket):
    with Peer(answer_initialize) as peer:
        sockets.run(peer, open_terminal, ticket=ticket)
    assert peer.requests[0].path.endswith(f"&token={KEY}")


@pytest.mark.parametrize(
    ("ticket", "error"),
    [
        (problem(401, detail="invalid API key"), caged.CagedAuthError),
        (httpx.Response(405), caged.CagedAPIError),
        (httpx.Response(429), caged.CagedRateLimitError),
        (httpx.Response(500), caged.CagedServerError),
        (httpx.Response(200), CagedError),
        (js([]), CagedError),
        (js({"ticket": 5}), CagedError),
    ],
)
def test_any_other_error_of_the_ticket_is_raised_and_no_socket_opened(sockets, ticket, error):
    with Peer(answer_initialize) as peer:
        with pytest.raises(error):
            sockets.run(peer, open_terminal, ticket=ticket)
        with pytest.raises(error):
            stream(sockets, peer, ticket=ticket)
    assert peer.requests == []


def body(status, detail, **more):
    return json.dumps({"title": "No", "status": status, "detail": detail, **more}).encode()


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, caged.CagedValidationError),
        (401, caged.CagedAuthError),
        (403, caged.CagedAuthError),
        (404, caged.CagedNotFoundError),
        (409, caged.CagedAPIError),
        (429, caged.CagedRateLimitError),
        (503, caged.CagedServerError),
    ],
)
def test_a_refused_handshake_is_the_error_that_its_status_stands_for(sockets, status, error):
    answer = refusal(
        status, body(status, "not like this", reason={"code": "invalid_state"}), **{"X-Request-Id": "req_1"}
    )
    with Peer(None, refusal=answer) as peer:
        for use in (open_terminal, open_stream, open_mcp):
            with pytest.raises(error, match=r"^not like this$") as caught:
                sockets.run(peer, use)
            assert type(caught.value) is error
            assert (caught.value.status, caught.value.detail) == (status, "not like this")
            assert caught.value.reason.code == "invalid_state"
            assert caught.value.request_id == "req_1"
        with pytest.raises(error, match=r"^not like this$"):
            stream(sockets, peer)


@pytest.mark.parametrize("content", [b"", b"no", b"\xff", b"[" * 9000, b"<html>" * 100])
def test_refusal_with_an_unreadable_body_is_mapped_by_its_status(sockets, content):
    with Peer(None, refusal=refusal(409, content)) as peer:
        with pytest.raises(caged.CagedAPIError, match="HTTP 409") as caught:
            sockets.run(peer, open_terminal)
    assert caught.value.status == 409


def test_plan_limit_is_recognized_by_its_code(sockets):
    answer = refusal(403, body(403, "too many", reason={"code": "plan_limit_reached"}))
    with Peer(None, refusal=answer) as peer:
        with pytest.raises(caged.CagedPlanLimitError, match="too many"):
            sockets.run(peer, open_terminal)


def test_a_redirect_is_not_followed(sockets):
    with Peer(answer_initialize) as elsewhere:
        target = elsewhere.url.replace("http", "ws") + "/v1/x"
        with Peer(None, refusal=refusal(302, Location=target)) as peer:
            for use in (lambda: sockets.run(peer, open_terminal), lambda: stream(sockets, peer)):
                with pytest.raises(caged.CagedAPIError, match="redirected") as caught:
                    use()
                assert caught.value.status == 302
    assert elsewhere.requests == []


def test_a_server_that_answers_without_opening_a_socket_is_a_connection_error(sockets):
    with Peer(None, refusal=refusal(200, b"hello")) as peer:
        with pytest.raises(CagedConnectionError, match="HTTP 200 and opened no WebSocket; check base_url"):
            sockets.run(peer, open_terminal)


def test_another_subprotocol_than_the_requested_one_is_a_connection_error(sockets):
    with Peer(answer_initialize, subprotocol="other") as peer:
        with pytest.raises(CagedConnectionError, match="subprotocol"):
            sockets.run(peer, open_terminal)
        with pytest.raises(CagedConnectionError, match="subprotocol"):
            stream(sockets, peer)


def test_handshake_without_a_subprotocol_is_accepted(sockets):
    with Peer(answer_initialize, subprotocol=None) as peer:
        sockets.run(peer, open_terminal)


def both(sockets, url, **options):
    """The errors of a coroutine and of a stream."""
    errors = []
    for use in (lambda: sockets.run(url, open_terminal, **options), lambda: stream(sockets, url, **options)):
        with pytest.raises(CagedError) as caught:
            use()
        errors.append(caught.value)
    return errors


def test_port_without_a_server_is_a_connection_error(sockets):
    with SocketServer() as server:
        pass
    for error in both(sockets, server.url):
        assert type(error) is CagedConnectionError
        assert f"cannot connect to {server.url}" in str(error)


@pytest.mark.parametrize("reply", [b"", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 101 Switching Protocols\r\n\r\n"])
def test_what_speaks_no_websocket_is_a_connection_error(sockets, reply):
    with SocketServer(reply, reply) as server:
        for error in both(sockets, server.url):
            assert type(error) is CagedConnectionError


def test_silence_is_a_timeout_in_the_time_of_the_client(sockets):
    with SocketServer(None, None) as server:
        begun = time.perf_counter()
        for error in both(sockets, server.url, timeout=0.2):
            assert type(error) is CagedTimeoutError
            assert error.timeout == 0.2
            assert "WebSocket /sandboxes/" in str(error)
        assert time.perf_counter() - begun < 50


def test_no_error_shows_the_ticket_or_the_key(sockets):
    secret = refusal(401, body(401, "no"))
    with Peer(None, refusal=secret) as peer, Peer(answer_initialize, subprotocol="other") as other:
        with SocketServer() as third:
            pass
        for url in (peer.url, other.url, third.url):
            for error in both(sockets, url):
                text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
                assert "wst" not in text
                assert KEY not in text


def test_loopback_ignores_a_proxy_variable(sockets, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "ws_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with Peer(answer_initialize) as peer:
        sockets.run(peer, open_terminal)
    assert len(peer.requests) == 1


def test_a_closed_client_opens_no_socket(sockets):
    async def use(client):
        closing = client.close()
        if asyncio.iscoroutine(closing):
            await closing
        await open_terminal(client)

    with Peer(answer_initialize) as peer:
        with pytest.raises(CagedError, match="closed"):
            sockets.run(peer, use)
    assert peer.requests == []


@each(
    ("use", "message"),
    [
        (lambda c: c.sandboxes.terminal(""), "sandbox_id is empty"),
        (lambda c: c.sandboxes.terminal("x", rows="24"), "rows must be an int"),
        (lambda c: c.sandboxes.terminal("x", cols=None), "cols must be an int"),
        (lambda c: c.sandboxes.exec_stream("..", "ls"), "another path"),
        (lambda c: c.sandboxes.exec_stream("x", b"ls"), "decode it first"),
        (lambda c: c.sandboxes.exec_stream("x", "\ud800"), "lone surrogate"),
        (lambda c: c.sandboxes.exec_stream("x", "ls", timeout=-1), "timeout must be above 0"),
        (lambda c: c.sandboxes.mcp(None), "sandbox_id must be a str"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_sent(sockets, use, message):
    with pytest.raises(CagedError, match=message):
        sockets.run("http://127.0.0.1:1", use)
    assert sockets.tickets == []
