"""Pass the messages of a preview's WebSocket on, between the visitor and a server in a sandbox."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any, Optional, Union

from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect
from websockets.client import ClientProtocol
from websockets.exceptions import InvalidStatus, InvalidURI, PayloadTooBig
from websockets.frames import Close, Frame, Opcode
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from ..platform.errors import ApiError
from .preview_http import PIECE, check_response_head, end_to_end, server_headers
from .sockets import subprotocols

HANDSHAKE_SECONDS = 30.0
#: The largest message that a server in a sandbox may send to a visitor, which is buffered until it is complete. In the
#: other direction the limit is server.WS_MESSAGE_BYTES.
MESSAGE_BYTES = 16 * 1024 * 1024
_NORMAL = 1000
_GOING_AWAY = 1001
_PROTOCOL_ERROR = 1002
_NO_STATUS = 1005
_TOO_BIG = 1009
#: Codes that report how a connection ended, and are never sent.
_LOCAL_CODES = (_NO_STATUS, 1006, 1015)


async def forward_socket(
    port: int, path: str, scope: Scope, receive: Receive, send: Send, connection: socket.socket, is_protected: bool
) -> None:
    """Open a WebSocket to the server, and pass messages on until either side closes.

    A response by which the server denies the handshake is the response to the visitor's.

    Args:
        port: The server's port.
        path: The path and query that the server gets, encoded.
        scope: The visitor's request, without the emulator's credentials.
        receive: Receives the visitor's messages.
        send: Sends messages to the visitor.
        connection: A connection to the server, which is closed afterwards.
        is_protected: Whether the port has a password, which the server must not get.

    Raises:
        ApiError: 400 for an address that cannot be passed on; 502 when the server does not answer the handshake.
    """
    reader, writer = await asyncio.open_connection(sock=connection)
    visitor = WebSocket(scope, receive, send)
    try:
        server = _ServerSocket(port, path or "/", visitor, reader, writer, is_protected)
        denial = await asyncio.wait_for(server.handshake(), HANDSHAKE_SECONDS)
        if denial is not None:
            await visitor.send_denial_response(denial)
            return
        await visitor.accept(subprotocol=server.subprotocol)
        await _pass_on(visitor, server)
    except InvalidURI as error:
        raise ApiError(400, f"the address cannot be passed on to the server in the sandbox: {error}") from None
    except (asyncio.TimeoutError, OSError, EOFError) as error:
        if visitor.application_state.name == "CONNECTING":
            raise ApiError(502, f"the server in the sandbox took no WebSocket: {error or 'no answer'}") from None
    except WebSocketDisconnect:
        pass
    finally:
        writer.close()


async def _pass_on(visitor: WebSocket, server: _ServerSocket) -> None:
    to_server = asyncio.ensure_future(_pass_to_server(visitor, server))
    to_visitor = asyncio.ensure_future(_pass_to_visitor(visitor, server))
    try:
        await asyncio.wait({to_server, to_visitor}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (to_server, to_visitor):
            task.cancel()
        await asyncio.gather(to_server, to_visitor, return_exceptions=True)


async def _pass_to_server(visitor: WebSocket, server: _ServerSocket) -> None:
    while True:
        message = await visitor.receive()
        if message["type"] == "websocket.disconnect":
            await server.close(message.get("code", _NO_STATUS), message.get("reason") or "")
            return
        text, data = message.get("text"), message.get("bytes")
        await server.send(text if text is not None else data or b"")


async def _pass_to_visitor(visitor: WebSocket, server: _ServerSocket) -> None:
    async for message in server.messages():
        if isinstance(message, str):
            await visitor.send_text(message)
        else:
            await visitor.send_bytes(message)
    await visitor.close(server.close_code, server.close_reason)


def _encode_headers(headers: Any) -> list[tuple[bytes, bytes]]:
    return [
        (name.encode("latin-1", "replace"), value.encode("latin-1", "replace")) for name, value in headers.raw_items()
    ]


def _sendable(code: int) -> int:
    """A code that may be sent in a close frame."""
    return _NORMAL if code in _LOCAL_CODES else code


class _ServerSocket:
    """The WebSocket between the emulator and the server in the sandbox."""

    def __init__(
        self,
        port: int,
        path: str,
        visitor: WebSocket,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        is_protected: bool,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self.close_code, self.close_reason = _GOING_AWAY, ""
        scope: dict[str, Any] = dict(visitor.scope)
        offered = [Subprotocol(name) for name in subprotocols(scope)] or None
        self._protocol = ClientProtocol(
            parse_uri(f"ws://localhost:{port}{path}"), subprotocols=offered, max_size=MESSAGE_BYTES
        )
        self._request = self._protocol.connect()
        for key, value in server_headers(end_to_end(scope["headers"]), port, "", scope, is_protected):
            name = key.decode("latin-1")
            if name != "host" and not name.startswith("sec-websocket-"):
                self._request.headers[name] = value.decode("latin-1")

    @property
    def subprotocol(self) -> Any:
        return self._protocol.subprotocol

    async def handshake(self) -> Optional[Response]:
        """Open the WebSocket. Returns None, or the response by which the server denied it."""
        self._protocol.send_request(self._request)
        await self._flush()
        while self._protocol.handshake_exc is None and self._protocol.state.name == "CONNECTING":
            await self._read()
        error = self._protocol.handshake_exc
        if isinstance(error, InvalidStatus):
            check_response_head(error.response.status_code, _encode_headers(error.response.headers))
            return Response(bytes(error.response.body or b""), error.response.status_code)
        if error is not None:
            raise EOFError(str(error))
        return None

    async def _read(self) -> None:
        data = await self._reader.read(PIECE)
        if data:
            self._protocol.receive_data(data)
        else:
            self._protocol.receive_eof()
            if self._protocol.handshake_exc is None and self._protocol.state.name == "CONNECTING":
                raise EOFError("it closed the connection")
        await self._flush()

    async def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                self._writer.write(data)
        await self._writer.drain()

    async def messages(self) -> AsyncIterator[Union[str, bytes]]:
        """The server's messages, each when it is complete, until the server closes."""
        parts: list[bytes] = []
        is_text = False
        while True:
            for event in self._protocol.events_received():
                if not isinstance(event, Frame):
                    continue
                if event.opcode is Opcode.CLOSE:
                    self._note_close(bytes(event.data))
                    return
                if event.opcode not in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
                    continue  # the protocol answers pings
                if event.opcode is not Opcode.CONT:
                    is_text = event.opcode is Opcode.TEXT
                parts.append(bytes(event.data))
                if event.fin:
                    message = b"".join(parts)
                    parts.clear()
                    yield message.decode("utf-8", "replace") if is_text else message
            if self._protocol.parser_exc is not None:
                self._note_failure(self._protocol.parser_exc)
                return
            if self._reader.at_eof():
                return
            await self._read()

    def _note_failure(self, error: Exception) -> None:
        """Note the close code for a message that is too large or invalid, which the server was sent as well."""
        if isinstance(error, PayloadTooBig):
            self.close_code = _TOO_BIG
            self.close_reason = f"the server in the sandbox sent a message of more than {MESSAGE_BYTES // 1024**2} MiB"
        else:
            self.close_code, self.close_reason = _PROTOCOL_ERROR, "the server in the sandbox sent an invalid frame"

    def _note_close(self, data: bytes) -> None:
        closed = Close.parse(data)
        self.close_code, self.close_reason = _sendable(closed.code), closed.reason

    async def send(self, message: Union[str, bytes]) -> None:
        if isinstance(message, str):
            self._protocol.send_text(message.encode("utf-8"))
        else:
            self._protocol.send_binary(message)
        await self._flush()

    async def close(self, code: int, reason: str) -> None:
        """Close the WebSocket as the visitor closed its own."""
        if self._protocol.state.name == "OPEN":
            self._protocol.send_close(_sendable(code), reason)
            await self._flush()
