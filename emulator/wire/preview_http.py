"""Pass an HTTP request of a preview's visitor on to a server in a sandbox. Bodies are streamed both ways."""

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
#: The limit for the head of a response: the time that the platform's clients wait for a command.
ANSWER_SECONDS = 300.0
#: Headers that belong to one connection, not to the request on it (RFC 9110, 7.6.1).
_HOP_BY_HOP = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer transfer-encoding"
    b" upgrade".split()
)
Headers = list[tuple[bytes, bytes]]
HeaderRewriter = Callable[[h11.Response], Headers]


async def forward(
    port: int,
    prefix: str,
    path: str,
    scope: Scope,
    receive: Receive,
    send: Send,
    connection: socket.socket,
    is_protected: bool,
) -> None:
    """Pass a request on, and send the visitor the server's response. One that breaks off breaks off for the visitor.

    Args:
        port: The server's port.
        prefix: The part of the visitor's path that the server does not get, for its redirects.
        path: The path and query that the server gets, encoded.
        scope: The request, without the emulator's credentials.
        receive: Receives the visitor's body.
        send: Sends the response.
        connection: A connection to the server, which is closed afterwards.
        is_protected: Whether the port has a password, which the server must not get.

    Raises:
        ApiError: 400 for a request that cannot be passed on; 502 for a response that is not HTTP; 504 for none within
            ANSWER_SECONDS.
    """
    reader, writer = await asyncio.open_connection(sock=connection)
    forwarding = _Forwarding(reader, writer, receive, send)
    headers = end_to_end(scope["headers"])
    if any(name == b"transfer-encoding" for name, _ in scope["headers"]):
        # It delimits the body; a length beside it could contradict it (RFC 9112, 6.3).
        headers = [(key, value) for key, value in headers if key != b"content-length"]
        headers.append((b"transfer-encoding", b"chunked"))
    try:
        request = h11.Request(
            method=scope["method"],
            target=path.encode("latin-1"),
            headers=[*server_headers(headers, port, prefix, scope, is_protected), (b"connection", b"close")],
        )
        await forwarding.run(request, lambda response: _visitor_headers(response, port, prefix))
    except h11.LocalProtocolError as error:
        raise ApiError(400, f"the request cannot be passed on to the server in the sandbox: {error}") from None
    finally:
        writer.close()


def end_to_end(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """The headers without those of one connection, and without those that `Connection` names."""
    listed = list(headers)
    named = {
        name.strip().lower() for key, value in listed if key.lower() == b"connection" for name in value.split(b",")
    }
    return [(key, value) for key, value in listed if key.lower() not in _HOP_BY_HOP | named]


def server_headers(headers: Headers, port: int, prefix: str, scope: Scope, is_protected: bool) -> Headers:
    """The request's headers as the server gets them.

    `Host` is localhost, which development servers insist on; `X-Forwarded-` headers have the visitor's address and the
    requested host. The preview's password is removed.
    """
    old = dict(headers)
    removed = {b"host", b"authorization"} if is_protected else {b"host"}
    client = scope.get("client")
    return [
        (b"host", f"localhost:{port}".encode("ascii")),
        *((key, value) for key, value in headers if key not in removed and not key.startswith(b"x-forwarded-")),
        (b"x-forwarded-host", old.get(b"host", b"")),
        (b"x-forwarded-proto", b"http"),
        (b"x-forwarded-for", (client[0] if client else "127.0.0.1").encode("latin-1")),
        *([(b"x-forwarded-prefix", prefix.encode("latin-1"))] if prefix else []),
    ]


def check_response_head(status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
    """Check that the head of a response has exactly one meaning.

    Raises:
        EOFError: It does not; the text has the reason.
    """
    names = {key.lower() for key, _ in headers}
    if not 200 <= status <= 599:
        raise EOFError(f"its status is {status}; a final status is from 200 to 599")
    if {b"content-length", b"transfer-encoding"} <= names:
        raise EOFError("it has both Content-Length and Transfer-Encoding, which leaves open where it ends")


def _visitor_headers(response: h11.Response, port: int, prefix: str) -> Headers:
    """The response's headers as the visitor gets them: redirects stay in the preview; the emulator adds a date."""
    headers: Headers = []
    for key, value in end_to_end(response.headers):
        if key == b"location":
            value = _location(value.decode("latin-1"), port, prefix).encode("latin-1")
        if key != b"date":
            headers.append((key, value))
    return headers


def _location(location: str, port: int, prefix: str) -> str:
    """The target of a server's redirect, as an address of the preview if it is the server's own."""
    try:
        url = urlsplit(location)
        is_own = (url.hostname, url.port) in (("localhost", port), ("127.0.0.1", port))
    except ValueError:
        return location
    if is_own:
        location = location.split("//", 1)[1].partition("/")[2]
        return f"{prefix}/{location}"
    return f"{prefix}{location}" if location.startswith("/") and not location.startswith("//") else location


class _Forwarding:
    """One request to the server, and its response."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, receive: Receive, send: Send
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._receive = receive
        self._send = send
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=PIECE)
        self._has_started = False

    async def run(self, request: h11.Request, rewrite_headers: HeaderRewriter) -> None:
        self._write(request)
        sending = asyncio.ensure_future(self._send_body())
        receiving = asyncio.ensure_future(self._receive_response(rewrite_headers))
        timeout = asyncio.get_running_loop().call_later(ANSWER_SECONDS, self._give_up, receiving)
        try:
            # Sending ends only when the visitor disconnects; a server may respond before it has read the body.
            await asyncio.wait({sending, receiving}, return_when=asyncio.FIRST_COMPLETED)
            if receiving.cancelled():
                raise ApiError(504, f"the server in the sandbox did not answer within {ANSWER_SECONDS:g} s")
            if receiving.done():
                receiving.result()
        except (h11.ProtocolError, OSError, EOFError) as error:
            if not self._has_started:
                raise ApiError(502, f"the server in the sandbox did not answer in HTTP: {error}") from None
        finally:
            timeout.cancel()
            for task in (sending, receiving):
                task.cancel()
            await asyncio.gather(sending, receiving, return_exceptions=True)

    def _give_up(self, receiving: asyncio.Future[None]) -> None:
        if not self._has_started:
            receiving.cancel()

    def _write(self, event: h11.Event) -> None:
        data = self._http.send(event)
        if data:
            self._writer.write(data)

    async def _send_body(self) -> None:
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
            # The server reads no more. Its response still counts, and so does a disconnect of the visitor.
            while (await self._receive())["type"] != "http.disconnect":
                pass

    async def _next_event(self) -> h11.Event:
        while True:
            event = self._http.next_event()
            if isinstance(event, h11.Event):
                return event
            if event is h11.PAUSED:
                raise EOFError("it answered with another protocol")
            self._http.receive_data(await self._reader.read(PIECE))

    async def _receive_response(self, rewrite_headers: HeaderRewriter) -> None:
        while True:
            event = await self._next_event()
            if isinstance(event, h11.Response):
                check_response_head(event.status_code, event.headers)
                self._has_started = True
                start = {"type": "http.response.start", "status": event.status_code, "headers": rewrite_headers(event)}
                await self._send(start)
            elif isinstance(event, h11.Data):
                await self._send({"type": "http.response.body", "body": bytes(event.data), "more_body": True})
            elif isinstance(event, h11.EndOfMessage):
                await self._send({"type": "http.response.body", "body": b""})
                return
            elif not isinstance(event, h11.InformationalResponse):
                raise EOFError("it closed the connection")
