"""The transports for servers on this machine: what leaves, and that failures are those of httpx's own transports."""

import asyncio
import concurrent.futures
import functools
import gzip
import json
import logging
import socket
import ssl
import struct
import subprocess
import sys

import httpcore
import httpx
import pytest
from leftovers import until
from sdk_driver import ListeningServer, SocketServer, http

from caged import Caged, CagedConnectionError, CagedTimeoutError, _loopback_transport
from caged._loopback_transport import HELD_BYTES, AsyncLoopbackTransport, LoopbackTransport

RESULT = json.dumps({"output": "done", "exit_code": 0}).encode()
#: Where Linux's `struct tcp_info` has the number of segments with data that have arrived.
SEGMENTS_AT = 152


class KeepAliveServer(ListeningServer):
    """Answers requests on each connection, and notes the bodies and the number of segments in which they came."""

    def __init__(self, context=None, headers=b"", content=RESULT):
        super().__init__("http" if context is None else "https", "localhost")
        self._answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n" + headers
        self._answer += b"Content-Length: %d\r\n\r\n" % len(content) + content
        self.heads = []
        self.bodies = []
        self.segments = []
        self.connections = 0
        self._context = context

    def handle(self, connection):
        try:
            if self._context is not None:
                connection = self._context.wrap_socket(connection, server_side=True)
            with connection:
                self.connections += 1
                self._answer_all(connection)
        except OSError:
            pass  # a client that refuses the certificate hangs up

    def _answer_all(self, connection):
        while True:
            received = b""
            while b"\r\n\r\n" not in received:
                piece = connection.recv(65536)
                if not piece:
                    return
                received += piece
            head, _, body = received.partition(b"\r\n\r\n")
            (length,) = [int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
            while len(body) < length:
                piece = connection.recv(65536)
                if not piece:
                    return
                body += piece
            self.heads.append(head)
            self.bodies.append(body)
            if sys.platform == "linux":
                information = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, SEGMENTS_AT + 4)
                self.segments.append(struct.unpack_from("=I", information, SEGMENTS_AT)[0])
            connection.sendall(self._answer)


def execute(command, times=1):
    """Run a command so many times with a client, which may be of either kind."""

    def use(client):
        results = [client.sandboxes.exec("x", command) for _ in range(times)]
        if not asyncio.iscoroutine(results[0]):
            return results

        async def in_turn():
            return [await result for result in results]

        return in_turn()

    return use


@pytest.mark.skipif(sys.platform != "linux", reason="the number of segments is in Linux's TCP_INFO")
def test_request_with_a_body_arrives_in_one_segment_also_on_a_kept_connection(driver):
    with KeepAliveServer() as server:
        results = driver.use(execute("true", times=3), base_url=server.url)
    assert [result.output for result in results] == ["done"] * 3
    assert (server.segments, server.connections) == ([1, 2, 3], 1)


@pytest.mark.parametrize("size", [HELD_BYTES - 200, HELD_BYTES, 3_000_000])
def test_body_of_any_size_arrives_complete(driver, size):
    command = "x" * size
    with KeepAliveServer() as server:
        driver.use(execute(command), base_url=server.url)
    assert json.loads(server.bodies[0]) == {"command": command}


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    directory = tmp_path_factory.mktemp("tls")
    own, private = directory / "certificate.pem", directory / "private.pem"
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", str(private), "-out", str(own)]
    subprocess.run(["openssl", *words.split(), *names, *files], check=True, capture_output=True, timeout=60)
    return own, private


def test_https_on_loopback_trusts_the_authority_that_ssl_cert_file_names_and_no_other(driver, certificate, monkeypatch):
    own, private = certificate
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own, private)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    with KeepAliveServer(context) as server:
        monkeypatch.delenv("SSL_CERT_FILE", raising=False)
        with pytest.raises(CagedConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
            driver.use(execute("true"), base_url=server.url, max_retries=0)
        assert server.bodies == []
        monkeypatch.setenv("SSL_CERT_FILE", str(own))
        (result,) = driver.use(execute("true"), base_url=server.url)
    assert result.output == "done"
    assert json.loads(server.bodies[0]) == {"command": "true"}


# --- what a client does with an answer, as httpx does


def own_transport(driver):
    """A transport with which a client does not use those of this package."""
    return (httpx.HTTPTransport if driver.kind == "sync" else httpx.AsyncHTTPTransport)(trust_env=False)


def test_request_is_logged_as_by_httpx(driver, caplog):
    caplog.set_level(logging.INFO, "httpx")
    with KeepAliveServer() as server:
        driver.use(execute("true"), base_url=server.url)
        driver.use(execute("true"), base_url=server.url, transport=own_transport(driver))
    first, second = [record.getMessage() for record in caplog.records if record.name == "httpx"]
    assert first == second == f'HTTP Request: POST {server.url}/v1/sandboxes/x/exec "HTTP/1.1 200 OK"'


def test_cookie_of_an_answer_is_sent_with_the_next_request(driver):
    with KeepAliveServer(headers=b"Set-Cookie: route=seven\r\n") as server:
        driver.use(execute("true", times=2), base_url=server.url)
    assert [b"route=seven" in head for head in server.heads] == [False, True]


def test_compressed_answer_is_decompressed(driver):
    with KeepAliveServer(headers=b"Content-Encoding: gzip\r\n", content=gzip.compress(RESULT)) as server:
        (result,) = driver.use(execute("true"), base_url=server.url)
    assert result.output == "done"


def test_error_below_http_has_its_request(driver):
    with SocketServer() as server:
        pass
    with pytest.raises(CagedConnectionError) as failure:
        driver.use(execute("true"), base_url=server.url, max_retries=0)
    assert str(failure.value.__context__.request.url) == f"{server.url}/v1/sandboxes/x/exec"


@pytest.mark.parametrize("layer", ["client", "transport"])
def test_mocks_and_instrumentation_that_replace_a_method_of_httpx_see_the_request(driver, monkeypatch, layer):
    is_sync = driver.kind == "sync"
    if layer == "client":
        owner, name = (httpx.Client if is_sync else httpx.AsyncClient), "send"
    elif is_sync:
        owner, name = httpx.HTTPTransport, "handle_request"
    else:
        owner, name = httpx.AsyncHTTPTransport, "handle_async_request"
    original, seen = getattr(owner, name), []

    @functools.wraps(original)
    def replaced(self, request, **options):
        seen.append(str(request.url))
        return original(self, request, **options)

    with KeepAliveServer() as server:

        def use(client):
            monkeypatch.setattr(owner, name, replaced)  # after the client was made, as by a fixture
            return execute("true")(client)

        (result,) = driver.use(use, base_url=server.url)
    assert result.output == "done"
    assert seen == [f"{server.url}/v1/sandboxes/x/exec"]


# --- connections


class HoldingServer(ListeningServer):
    """Answers the requests of all connections together, once so many of them have come; then closes each connection
    when `drop` is called."""

    def __init__(self, count):
        super().__init__()
        self._count = count
        self._waiting = []
        self.connections = []

    def __exit__(self, *error):
        self.drop()
        super().__exit__(*error)

    def drop(self):
        for connection in self.connections:
            connection.close()

    def handle(self, connection):
        connection.recv(65536)
        self.connections.append(connection)
        self._waiting.append(connection)
        if len(self._waiting) == self._count:
            for one in self._waiting:
                one.sendall(http("[]").replace(b"Connection: close\r\n", b""))
            self._waiting.clear()


def list_at_once(client, count):
    """List sandboxes in so many threads or tasks at the same time."""
    if isinstance(client, Caged):
        with concurrent.futures.ThreadPoolExecutor(count) as threads:
            return [each.result(60) for each in [threads.submit(client.sandboxes.list) for _ in range(count)]]

    async def gathered():
        return await asyncio.gather(*[client.sandboxes.list() for _ in range(count)])

    return gathered()


def test_calls_at_the_same_time_have_a_connection_each(driver):
    with HoldingServer(3) as server:
        assert driver.use(lambda client: list_at_once(client, 3), base_url=server.url) == [[], [], []]
    assert len(server.connections) == 3


def test_connections_that_the_server_has_closed_are_replaced_before_anything_is_sent(driver):
    with HoldingServer(2) as server:

        def use(client):
            if isinstance(client, Caged):
                list_at_once(client, 2)
                server.drop()
                return list_at_once(client, 2)

            async def twice():
                await list_at_once(client, 2)
                server.drop()
                return await list_at_once(client, 2)

            return twice()

        assert driver.use(use, base_url=server.url, max_retries=0) == [[], []]
    assert len(server.connections) == 4


def test_call_without_a_free_connection_waits_for_one_and_times_out(driver, monkeypatch):
    monkeypatch.setattr(_loopback_transport, "MAX_CONNECTIONS", 1)
    with HoldingServer(2) as server:  # which does not answer one request

        def use(client):
            if isinstance(client, Caged):
                with concurrent.futures.ThreadPoolExecutor(1) as threads:
                    first = threads.submit(client.sandboxes.exec, "x", "true", timeout=60)
                    until(lambda: server.connections)
                    with pytest.raises(CagedTimeoutError, match=r"timed out after 0\.1s: no connection"):
                        client.sandboxes.list()
                    server.drop()
                    return first.exception(60)

            async def twice():
                first = asyncio.ensure_future(client.sandboxes.exec("x", "true", timeout=60))
                await asyncio.to_thread(until, lambda: server.connections)
                with pytest.raises(CagedTimeoutError, match=r"timed out after 0\.1s: no connection"):
                    await client.sandboxes.list()
                server.drop()
                return (await asyncio.gather(first, return_exceptions=True))[0]

            return twice()

        error = driver.use(use, base_url=server.url, timeout=0.1, max_retries=0)
        assert isinstance(error, CagedConnectionError)
    assert len(server.connections) == 1


def test_call_without_a_free_connection_goes_on_when_one_is_free(driver, monkeypatch):
    monkeypatch.setattr(_loopback_transport, "MAX_CONNECTIONS", 1)
    with KeepAliveServer() as server:

        def use(client):
            if isinstance(client, Caged):
                with concurrent.futures.ThreadPoolExecutor(4) as threads:
                    calls = [threads.submit(client.sandboxes.exec, "x", "true") for _ in range(4)]
                    return [call.result(60).output for call in calls]

            async def gathered():
                return [r.output for r in await asyncio.gather(*[client.sandboxes.exec("x", "true") for _ in range(4)])]

            return gathered()

        assert driver.use(use, base_url=server.url) == ["done"] * 4
    assert server.connections == 1


# --- failures


def outcome_of(transport, url, **options):
    """The status and content of an answer, or the class and text of the error."""

    async def asynchronous():
        async with httpx.AsyncClient(transport=transport, trust_env=False) as client:
            response = await client.post(url, **options)
            return response.status_code, dict(response.headers), response.content

    try:
        if isinstance(transport, httpx.AsyncBaseTransport):
            return asyncio.run(asynchronous())
        with httpx.Client(transport=transport, trust_env=False) as client:
            response = client.post(url, **options)
            return response.status_code, dict(response.headers), response.content
    except Exception as problem:
        return type(problem), str(problem)


PAIRS = pytest.mark.parametrize(
    ("own", "reference"),
    [(LoopbackTransport, httpx.HTTPTransport), (AsyncLoopbackTransport, httpx.AsyncHTTPTransport)],
    ids=["sync", "async"],
)
SHORT = {"content": b"{}", "timeout": 0.2}
#: What the server does, the options of the request, and the error of both transports; None for an answer.
CASES = {
    "an answer": (http("[]"), {"content": b"{}"}, None),
    "an answer without a length": (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n[]", {"content": b"{}"}, None),
    "a compressed answer that is not compressed": (
        http("[]").replace(b"Content-Type", b"Content-Encoding: gzip\r\nContent-Type"),
        {},
        httpx.DecodingError,
    ),
    "no answer": (b"", {"content": b"{}"}, httpx.RemoteProtocolError),
    "half an answer": (http("[]").replace(b": 2", b": 20"), {}, httpx.RemoteProtocolError),
    "not HTTP": (b"SSH-2.0-OpenSSH\r\n\r\n", {}, httpx.RemoteProtocolError),
    "silence": (None, SHORT, httpx.ReadTimeout),
}


@PAIRS
@pytest.mark.parametrize("case", CASES)
def test_outcome_is_that_of_httpx(own, reference, case):
    behaviour, options, error = CASES[case]
    outcomes = []
    for transport in (own(), reference(trust_env=False)):
        with SocketServer(behaviour) as server:
            outcomes.append(outcome_of(transport, server.url, **options))
    assert outcomes[0] == outcomes[1]
    assert outcomes[0][0] == (200 if error is None else error)


@PAIRS
@pytest.mark.parametrize("headers", [{b"x": b"\n"}, {"content-length": "9"}], ids=["invalid header", "short body"])
def test_request_that_breaks_http_is_refused_as_by_httpx(own, reference, headers):
    with KeepAliveServer() as server:
        outcome = outcome_of(own(), server.url, headers=headers, content=b"{}")
        assert outcome == outcome_of(reference(trust_env=False), server.url, headers=headers, content=b"{}")
    assert outcome[0].__name__ == "LocalProtocolError"  # h11's own, where httpx does not translate it
    assert server.bodies == []


@PAIRS
def test_refused_connection_is_the_connect_error_of_httpx(own, reference):
    with SocketServer() as server:
        pass
    outcome = outcome_of(own(), server.url)
    assert outcome == outcome_of(reference(trust_env=False), server.url)
    assert outcome[0] is httpx.ConnectError


def test_answer_of_a_server_that_has_closed_its_end_is_read(monkeypatch):
    """The request cannot be sent any more: the answer came before it was read."""

    class Connection(httpcore.NetworkStream):
        answer = http("[]", "413 Content Too Large")

        def write(self, buffer, timeout=None):
            raise httpcore.WriteError("broken pipe")

        def read(self, max_bytes, timeout=None):
            answer, self.answer = self.answer, b""
            return answer

        def get_extra_info(self, info):
            return None

        def close(self):
            pass

    monkeypatch.setattr(httpcore.SyncBackend, "connect_tcp", lambda *_, **__: Connection())
    assert outcome_of(LoopbackTransport(), "http://localhost/", content=b"{}")[0] == 413


def test_cancelled_call_leaves_a_client_that_works():
    async def main():
        async with httpx.AsyncClient(transport=AsyncLoopbackTransport(), trust_env=False) as client:
            with SocketServer(None, http("[]")) as server:
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(client.post(server.url, content=b"{}", timeout=None), 0.2)
                return (await client.post(server.url, content=b"{}")).text

    assert asyncio.run(main()) == "[]"
