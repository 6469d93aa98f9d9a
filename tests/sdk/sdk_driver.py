"""Helpers of the SDK's tests."""

import asyncio
import json
import socket
import threading

import httpx

from caged import AsyncCaged, Caged

KEY = "caged_sk_test"


class Clock:
    def __init__(self):
        self.time = 1000.0
        self.pauses = []

    def sleep(self, seconds):
        self.pauses.append(seconds)
        self.time += seconds

    async def sleep_async(self, seconds):
        self.sleep(seconds)


class Driver:
    """`run(answer, use)`: make a client whose requests `answer` answers, and give it to `use`.

    `answer` is a function of the request, a response, an exception to raise, or a list of those, one per
    request. Requests are kept in `requests`, until the next case of a test that has several.
    """

    def __init__(self, kind):
        self.kind = kind
        self.requests = []

    def begin_case(self):
        self.requests.clear()

    def run(self, answer, use, base_url="http://api.test", **options):
        transport = httpx.MockTransport(self._handler(answer))
        return self.use(use, base_url=base_url, transport=transport, **options)

    def use(self, use, **options):
        options.setdefault("api_key", KEY)
        if self.kind == "sync":
            with Caged(**options) as client:
                return use(client)

        async def main():
            async with AsyncCaged(**options) as client:
                return await use(client)

        return asyncio.run(main())

    @property
    def request(self):
        """The only request."""
        assert len(self.requests) == 1
        return self.requests[0]

    def _handler(self, answer):
        answers = iter(answer) if isinstance(answer, list) else None

        def handle(request):
            self.requests.append(request)
            reply = answer if answers is None else next(answers)
            if isinstance(reply, Exception):
                raise reply
            if isinstance(reply, httpx.Response):  # a fresh one: a response belongs to one client only
                return httpx.Response(reply.status_code, headers=reply.headers, content=reply.content)
            return reply(request)

        return handle


def js(data, status=200, **headers):
    """A fresh JSON response on every request."""
    headers["content-type"] = "application/json"
    content = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return lambda request: httpx.Response(status, content=content, headers=headers)


def problem(status, **fields):
    """A problem document."""
    headers = {"content-type": "application/problem+json"}
    return lambda request: httpx.Response(status, json=fields, headers=headers)


class ListeningServer:
    """A real socket that listens during a `with` block; `handle` gets one connection after another."""

    def __init__(self, scheme="http", host="127.0.0.1"):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"{scheme}://{host}:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(60)
        assert not self._thread.is_alive()
        self._listener.close()

    def _serve(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.settimeout(60)
            self.handle(connection)


class SocketServer(ListeningServer):
    """Each connection gets the next behaviour: bytes to send in reply, b"" to hang up.

    A behaviour of None says nothing and keeps the connection open until the server is closed.
    """

    def __init__(self, *behaviours):
        super().__init__()
        self.behaviours = list(behaviours)
        self.requests = []
        self._held = []

    def __exit__(self, *error):
        super().__exit__(*error)
        for held in self._held:
            held.close()

    def handle(self, connection):
        received = b""
        while b"\r\n\r\n" not in received:
            received += connection.recv(65536)
        self.requests.append(received)
        behaviour = self.behaviours.pop(0)
        if behaviour is None:
            self._held.append(connection)
            return
        connection.sendall(behaviour)
        connection.shutdown(socket.SHUT_WR)
        try:
            while connection.recv(65536):  # let the other side close first: no reset may eat the answer
                pass
        except OSError:
            pass
        connection.close()


def http(body, status="200 OK"):
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Connection: close\r\n\r\n{body}".encode()
