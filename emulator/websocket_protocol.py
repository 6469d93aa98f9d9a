"""uvicorn's WebSocket protocol, made alike across its releases, with access to the connection for faults."""

from __future__ import annotations

import asyncio
import logging
from http import HTTPStatus
from typing import Any, Optional

from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from .http_protocol import with_transport

#: A message to the MCP server is read up to this size: a message above that server's own limit gets an error in reply,
#: and only one above this limit closes the connection.
MCP_READ_BYTES = 64 * 1024 * 1024
#: After a message is rejected, the client's data is read until none has come for so long, and at most for so long.
LINGER_QUIET_SECONDS, LINGER_MOST_SECONDS = 0.1, 5.0
_silent = logging.getLogger(f"{__name__}.sockets")
_silent.setLevel(logging.WARNING)


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """Serve one WebSocket connection.

    It corrects what differs between the releases of uvicorn for the supported versions of Python, or fails in them:
    back pressure, empty messages, a response to a handshake (doubled headers, a false error in the log), and the close
    code of a message that is rejected.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.logger = self.conn.logger = _silent  # both write the whole URL, with the credential in it

    _denial: Any = None
    _denial_body = b""
    _lingering: Optional[asyncio.TimerHandle] = None  # set once a message is rejected
    _rejected_at = _heard_at = 0.0

    def handle_parser_exception(self) -> None:
        """Reject a message that is too large, or invalid.

        A connection that is closed with unread data is reset, and the close code on its way to the client (1009 or
        another) is lost. So the rest is read and discarded first.
        """
        self.close_sent = True
        self.transport.write(b"".join(self.conn.data_to_send()))
        self._rejected_at = self._heard_at = self.loop.time()
        self._lingering = self.loop.call_later(LINGER_QUIET_SECONDS, self._linger)

    def _linger(self) -> None:
        now = self.loop.time()
        if now - self._rejected_at >= LINGER_MOST_SECONDS:
            self.transport.abort()
        elif now - self._heard_at >= LINGER_QUIET_SECONDS:
            self.transport.close()
        else:
            self._lingering = self.loop.call_later(LINGER_QUIET_SECONDS, self._linger)

    def data_received(self, data: bytes) -> None:
        if self._lingering is None:
            super().data_received(data)
            if self.conn.handshake_exc is not None and not self.handshake_initiated and not self.transport.is_closing():
                self._reject_handshake(self.conn.handshake_exc)
        else:
            self._heard_at = self.loop.time()

    def _reject_handshake(self, error: Exception) -> None:
        """Answer a handshake that cannot be read, which uvicorn leaves open."""
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
            self._denial = message
        elif message["type"] == "websocket.http.response.body":
            self._denial_body += message.get("body", b"")
            if not message.get("more_body"):
                self._deny()
        elif message["type"] == "websocket.send" and not message.get("text") and not message.get("bytes"):
            await self._send_empty(is_text=message.get("text") is not None)
        elif message["type"] == "websocket.close" and self.handshake_complete and self.transport.is_closing():
            pass  # the client has closed it already
        else:
            await super().send(message)

    async def _send_empty(self, is_text: bool) -> None:
        """Send an empty message, which some releases of uvicorn drop."""
        await self.writable.wait()
        if self.close_sent or self.transport.is_closing():
            return
        if is_text:
            self.conn.send_text(b"")
        else:
            self.conn.send_binary(b"")
        self.transport.write(b"".join(self.conn.data_to_send()))

    def _deny(self) -> None:
        """Answer the handshake with the application's response."""
        response = self.conn.reject(HTTPStatus.FORBIDDEN, "")
        response.status_code = self._denial["status"]
        response.reason_phrase = _phrase(response.status_code)
        response.body = self._denial_body
        for name, value in self._denial["headers"]:
            key = name.decode("latin-1")
            if key in response.headers:
                del response.headers[key]
            response.headers[key] = value.decode("latin-1")
        del response.headers["Content-Length"]
        response.headers["Content-Length"] = str(len(self._denial_body))
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
        return ""  # a status without a standard phrase
