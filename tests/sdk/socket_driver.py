"""A real WebSocket server for the SDK's tests that does exactly what a test says, and the clients against it."""

import asyncio
import json
import re
import threading

import httpx
from sdk_driver import KEY, js
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Response
from websockets.sync.server import serve

from caged import AsyncCaged, Caged

#: Time limits in seconds. On a busy machine a client may use up the first before it comes to what is tested; then the
#: test is repeated with the next.
MORE_TIME = (0.3, 3.5, 20.5)
TICKET = "caged_wst_a.b+c/d"


class Peer:
    """Serves one behaviour: a function of the connection, run in a thread of its own.

    Attributes:
        requests: the handshakes.
        received: messages that the behaviour read with `read`.
    """

    def __init__(self, behaviour, refusal=None, subprotocol=True, **options):
        self.requests = []
        self.received = []
        self.failures = []
        self.codes = []
        self._behaviour = behaviour
        self._refusal = refusal
        if subprotocol is True:
            options["subprotocols"] = ["terminal", "mcp"]
        elif subprotocol:
            options["select_subprotocol"] = lambda *_: subprotocol
        self._server = serve(
            self._serve, "127.0.0.1", 0, process_request=self._look, close_timeout=1, compression=None, **options
        )
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self.done = threading.Event()
        self.url = f"http://127.0.0.1:{self._server.socket.getsockname()[1]}"

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, kind, *_):
        self._server.shutdown()
        self._thread.join(60)
        if kind is None and self.requests and self._refusal is None:
            assert self.done.wait(60), "the server still waits for the client"
            assert self.failures == []

    def _look(self, connection, request):
        self.requests.append(request)
        return self._refusal

    def _serve(self, connection):
        self.connection = connection
        try:
            self._behaviour(self)
        except ConnectionClosed:
            pass
        except Exception as problem:
            self.failures.append(problem)
        finally:
            connection.close()
            self.codes.append(connection.close_code)
            self.done.set()

    def send(self, *messages):
        for message in messages:
            self.connection.send(message if isinstance(message, (str, bytes)) else json.dumps(message))

    def read(self):
        """The next message of the client, decoded."""
        self.received.append(json.loads(self.connection.recv(60)))
        return self.received[-1]

    def read_until_closed(self):
        while True:
            self.read()

    def typed(self):
        """The three lines of a streamed command; gives its markers."""
        lines = [self.read()["data"] for _ in range(3)]
        (begin,) = re.findall(r"'(__CAGED_BEGIN_[0-9a-f]{16}__)'", lines[0])
        (end,) = re.findall(r"'(__CAGED_EXIT_[0-9a-f]{16}__)'", lines[2])
        return begin, end

    def drop(self):
        """The connection breaks: no goodbye."""
        self.connection.close_socket()


def out(text):
    return {"type": "output", "data": text}


def printing(*pieces, stay=True):
    """A shell that prints pieces; ``{begin}`` and ``{end}`` in them are the markers."""

    def behave(peer):
        begin, end = peer.typed()
        for piece in pieces:
            peer.send(out(piece.replace("{begin}", begin).replace("{end}", end)))
        if stay:
            peer.read_until_closed()

    return behave


def refusal(status, body=b"", content_type="application/problem+json", **headers):
    head = Headers({"Content-Type": content_type, "Content-Length": str(len(body)), **headers})
    return Response(status, "No", head, body)


class SocketDriver:
    """Runs coroutines with `Caged` or with `AsyncCaged` against a `Peer`; tickets come from a fake transport."""

    def __init__(self, kind):
        self.kind = kind
        self.tickets = []

    def run(self, peer, use, ticket=None, **options):
        """`use` is a coroutine function of the client."""
        options.setdefault("base_url", peer.url if isinstance(peer, Peer) else peer)
        options["transport"] = httpx.MockTransport(self._answer(ticket or js({"ticket": TICKET, "expires_in": 60})))

        async def main():
            if self.kind == "sync":
                with Caged(KEY, **options) as client:
                    return await asyncio.wait_for(use(client), 60)
            async with AsyncCaged(KEY, **options) as client:
                return await asyncio.wait_for(use(client), 60)

        return asyncio.run(main())

    def _answer(self, reply):
        def handle(request):
            self.tickets.append(request)
            if isinstance(reply, httpx.Response):  # a fresh one: a response belongs to one client only
                return httpx.Response(reply.status_code, headers=reply.headers, content=reply.content)
            return reply(request)

        return handle


def stream(driver, peer, command="ls", ticket=None, limit=None, **options):
    """The pieces that ``sandboxes.stream`` gives on either client, and the stream."""
    options.setdefault("base_url", peer.url if isinstance(peer, Peer) else peer)
    options["transport"] = httpx.MockTransport(driver._answer(ticket or js({"ticket": TICKET})))
    if driver.kind == "sync":
        with Caged(KEY, **options) as client:
            output = client.sandboxes.stream("cage_1", command, timeout=limit)
            return list(output), output

    async def main():
        async with AsyncCaged(KEY, **options) as client:
            output = client.sandboxes.stream("cage_1", command, timeout=limit)
            return [piece async for piece in output], output

    return asyncio.run(main())
