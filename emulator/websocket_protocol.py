"""What uvicorn does with a WebSocket, with what differs between its releases and what faults need."""

from __future__ import annotations

import asyncio
import logging
from http import HTTPStatus
from typing import Any, Optional

from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from .http_protocol import with_transport

#: A message to the MCP server is read up to this size: one that is larger than the limit of its own gets an error in
#: reply, and only one that is larger than this closes the connection.
MCP_READ_BYTES = 64 * 1024 * 1024
#: A client whose message is refused is read from until it has sent nothing for so long, and at most so long.
LINGER_QUIET_SECONDS, LINGER_MOST_SECONDS = 0.1, 5.0
_silent = logging.getLogger(f"{__name__}.sockets")
_silent.setLevel(logging.WARNING)


class WebSocket(WebSocketsSansIOProtocol):
    """As uvicorn's, with what differs between the releases that our Pythons get, or fails there: waiting for a client
    that does not read, empty messages, answering a handshake with a response (headers twice, a false complaint in the
    log), and telling a client why its message is refused."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.logger = self.conn.logger = _silent  # both write the whole URL, with the credential in it

    _refusal: Any = None
    _refusal_body = b""
    _lingering: Optional[asyncio.TimerHandle] = None  # there once a message was refused
    _refused_at = _heard_at = 0.0

    def handle_parser_exception(self) -> None:
        """A message that is too large, or none. A connection that is closed with something unread is reset, and what
        is on its way to the client (the code, 1009 or another) with it: so the rest is read, and thrown away."""
        self.close_sent = True
        self.transport.write(b"".join(self.conn.data_to_send()))
        self._refused_at = self._heard_at = self.loop.time()
        self._lingering = self.loop.call_later(LINGER_QUIET_SECONDS, self._linger)

    def _linger(self) -> None:
        now = self.loop.time()
        if now - self._refused_at >= LINGER_MOST_SECONDS:
            self.transport.abort()
        elif now - self._heard_at >= LINGER_QUIET_SECONDS:
            self.transport.close()
        else:
            self._lingering = self.loop.call_later(LINGER_QUIET_SECONDS, self._linger)

    def data_received(self, data: bytes) -> None:
        if self._lingering is None:
            super().data_received(data)
            if self.conn.handshake_exc is not None and not self.handshake_initiated and not self.transport.is_closing():
                self._refuse_handshake(self.conn.handshake_exc)
        else:
            self._heard_at = self.loop.time()

    def _refuse_handshake(self, error: Exception) -> None:
        """One that cannot be read, which uvicorn leaves open."""
        answer = b"".join(self.conn.data_to_send())
        if not answer:
            cause = error.__cause__ or error
            body = f"the handshake of a WebSocket cannot be read: {cause}\n".encode("utf-8", "replace")
            head = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n"
            answer = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
        self.transport.write(answer)
        self.handshake_complete = self.close_sent = True
        self.transport.close()

    def connection_lost(self, exc: Optional[Exception]) -> None:
        if self._lingering is not None:
            self._lingering.cancel()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        if self._lingering is not None:
            self.transport.abort()
        else:
            super().shutdown()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.app = with_transport(self.app, transport)

    def handle_connect(self, event: Any) -> None:
        path = event.path.partition("?")[0]
        if path.startswith("/v1/sandboxes/") and path.endswith("/mcp"):
            # The name of the attribute differs between releases of websockets.
            name = "max_message_size" if hasattr(self.conn, "max_message_size") else "max_size"
            setattr(self.conn, name, MCP_READ_BYTES)
        super().handle_connect(event)

    async def send(self, message: Any) -> None:
        if self._lingering is not None:
            raise ClientDisconnected
        if message["type"] == "websocket.http.response.start":
            self._refusal = message
        elif message["type"] == "websocket.http.response.body":
            self._refusal_body += message.get("body", b"")
            if not message.get("more_body"):
                self._refuse()
        elif message["type"] == "websocket.send" and not message.get("text") and not message.get("bytes"):
            await self._send_empty(is_text=message.get("text") is not None)
        elif message["type"] == "websocket.close" and self.handshake_complete and self.transport.is_closing():
            pass  # the client was faster
        else:
            await super().send(message)

    async def _send_empty(self, is_text: bool) -> None:
        """Some releases take an empty message for none."""
        await self.writable.wait()
        if self.close_sent or self.transport.is_closing():
            return
        if is_text:
            self.conn.send_text(b"")
        else:
            self.conn.send_binary(b"")
        self.transport.write(b"".join(self.conn.data_to_send()))

    def _refuse(self) -> None:
        response = self.conn.reject(HTTPStatus.FORBIDDEN, "")
        response.status_code = self._refusal["status"]
        response.reason_phrase = _phrase(response.status_code)
        response.body = self._refusal_body
        for name, value in self._refusal["headers"]:
            key = name.decode("latin-1")
            if key in response.headers:
                del response.headers[key]
            response.headers[key] = value.decode("latin-1")
        del response.headers["Content-Length"]
        response.headers["Content-Length"] = str(len(self._refusal_body))
        self.conn.send_response(response)
        self.handshake_complete = self.close_sent = True
        self.queue.put_nowait({"type": "websocket.disconnect", "code": 1006})
        self.transport.write(b"".join(self.conn.data_to_send()))

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""  # one that no standard names
