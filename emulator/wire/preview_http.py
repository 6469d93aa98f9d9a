"""One HTTP request of a visitor, passed on to a server in a sandbox; bodies flow both ways as they come."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable
from typing import Callable
from urllib.parse import urlsplit

import h11
from starlette.types import Receive, Scope, Send

from ..platform.errors import ApiError

PIECE = 64 * 1024
#: For the head of an answer: as long as the platform's clients wait for a command.
ANSWER_SECONDS = 300.0
#: Of what belongs to one connection and not to the request that travels on it.
_HOP_BY_HOP = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer transfer-encoding"
    b" upgrade".split()
)
Headers = list[tuple[bytes, bytes]]
Shown = Callable[[h11.Response], Headers]


async def forward(
    port: int,
    prefix: str,
    path: str,
    scope: Scope,
    receive: Receive,
    send: Send,
    connection: socket.socket,
    protected: bool,
) -> None:
    """Refuses with 502 what is not HTTP, or cannot be passed on, and no answer with 504. An answer that breaks off
    breaks off for the visitor too."""
    reader, writer = await asyncio.open_connection(sock=connection)
    exchange = _Exchange(reader, writer, receive, send)
    headers = end_to_end(scope["headers"])
    if any(name == b"transfer-encoding" for name, _ in scope["headers"]):
        # It says how long the body is; a length beside it would be another opinion (RFC 9112, 6.3).
        headers = [(key, value) for key, value in headers if key != b"content-length"]
        headers.append((b"transfer-encoding", b"chunked"))
    try:
        request = h11.Request(
            method=scope["method"],
            target=path.encode("latin-1"),
            headers=[*forwarded(headers, port, prefix, scope, protected), (b"connection", b"close")],
        )
        await exchange.run(request, lambda found: _shown(found, port, prefix))
    except h11.LocalProtocolError as error:
        raise ApiError(400, f"the request cannot be passed on to the server in the sandbox: {error}") from None
    finally:
        writer.close()


def end_to_end(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """Without those of one connection, the ones that it names itself included."""
    listed = list(headers)
    named = {
        name.strip().lower() for key, value in listed if key.lower() == b"connection" for name in value.split(b",")
    }
    return [(key, value) for key, value in listed if key.lower() not in _HOP_BY_HOP | named]


def forwarded(headers: Headers, port: int, prefix: str, scope: Scope, protected: bool) -> Headers:
    """As the server gets them: asked as localhost, which development servers insist on, with who really asked for
    what beside it, and without the preview's own password."""
    old = dict(headers)
    dropped = {b"host", b"authorization"} if protected else {b"host"}
    client = scope.get("client")
    return [
        (b"host", f"localhost:{port}".encode("ascii")),
        *((key, value) for key, value in headers if key not in dropped and not key.startswith(b"x-forwarded-")),
        (b"x-forwarded-host", old.get(b"host", b"")),
        (b"x-forwarded-proto", b"http"),
        (b"x-forwarded-for", (client[0] if client else "127.0.0.1").encode("latin-1")),
        *([(b"x-forwarded-prefix", prefix.encode("latin-1"))] if prefix else []),
    ]


def check_answer(status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
    """EOFError, with the reason, for the head of an answer that can be read and means nothing, or two things."""
    names = {key.lower() for key, _ in headers}
    if not 200 <= status <= 599:
        raise EOFError(f"its status is {status}; a final status is from 200 to 599")
    if {b"content-length", b"transfer-encoding"} <= names:
        raise EOFError("it has both Content-Length and Transfer-Encoding, which leaves open where it ends")


def _shown(response: h11.Response, port: int, prefix: str) -> Headers:
    """As the visitor gets them: redirects stay in the preview. The emulator puts a date of its own."""
    shown: Headers = []
    for key, value in end_to_end(response.headers):
        if key == b"location":
            value = _location(value.decode("latin-1"), port, prefix).encode("latin-1")
        if key != b"date":
            shown.append((key, value))
    return shown


def _location(location: str, port: int, prefix: str) -> str:
    try:
        url = urlsplit(location)
        own = (url.hostname, url.port) in (("localhost", port), ("127.0.0.1", port))
    except ValueError:
        return location
    if own:
        location = location.split("//", 1)[1].partition("/")[2]
        return f"{prefix}/{location}"
    return f"{prefix}{location}" if location.startswith("/") and not location.startswith("//") else location


class _Exchange:
    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, receive: Receive, send: Send
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._receive = receive
        self._send = send
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=PIECE)
        self._started = False

    async def run(self, request: h11.Request, shown: Shown) -> None:
        self._write(request)
        up = asyncio.ensure_future(self._up())
        down = asyncio.ensure_future(self._down(shown))
        late = asyncio.get_running_loop().call_later(ANSWER_SECONDS, self._give_up, down)
        try:
            # The way up ends only when the visitor goes away; a server that answers early is not waited for.
            await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
            if down.cancelled():
                raise ApiError(504, f"the server in the sandbox did not answer within {ANSWER_SECONDS:g} s")
            if down.done():
                down.result()
        except (h11.ProtocolError, OSError, EOFError) as error:
            if not self._started:
                raise ApiError(502, f"the server in the sandbox did not answer in HTTP: {error}") from None
        finally:
            late.cancel()
            for task in (up, down):
                task.cancel()
            await asyncio.gather(up, down, return_exceptions=True)

    def _give_up(self, down: asyncio.Future[None]) -> None:
        if not self._started:
            down.cancel()

    def _write(self, event: h11.Event) -> None:
        data = self._http.send(event)
        if data:
            self._writer.write(data)

    async def _up(self) -> None:
        try:
            while True:
                message = await self._receive()
                if message["type"] == "http.disconnect":
                    return
                if self._http.our_state is not h11.SEND_BODY:
                    continue
                if message.get("body"):
                    self._write(h11.Data(data=message["body"]))
                    await self._writer.drain()
                if not message.get("more_body"):
                    self._write(h11.EndOfMessage())
        except (OSError, h11.LocalProtocolError):
            # The server takes no more; what it answers is still of interest, and so is the visitor's end.
            while (await self._receive())["type"] != "http.disconnect":
                pass

    async def _event(self) -> h11.Event:
        while True:
            event = self._http.next_event()
            if isinstance(event, h11.Event):
                return event
            if event is h11.PAUSED:
                raise EOFError("it answered with another protocol")
            self._http.receive_data(await self._reader.read(PIECE))

    async def _down(self, shown: Shown) -> None:
        while True:
            event = await self._event()
            if isinstance(event, h11.Response):
                check_answer(event.status_code, event.headers)
                self._started = True
                start = {"type": "http.response.start", "status": event.status_code, "headers": shown(event)}
                await self._send(start)
            elif isinstance(event, h11.Data):
                await self._send({"type": "http.response.body", "body": bytes(event.data), "more_body": True})
            elif isinstance(event, h11.EndOfMessage):
                await self._send({"type": "http.response.body", "body": b""})
                return
            elif not isinstance(event, h11.InformationalResponse):
                raise EOFError("it closed the connection")
