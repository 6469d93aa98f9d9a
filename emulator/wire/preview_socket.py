"""A visitor's WebSocket, passed on to a server in a sandbox, message by message."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any, Union

from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect
from websockets.client import ClientProtocol
from websockets.exceptions import InvalidStatus, InvalidURI, PayloadTooBig
from websockets.frames import Close, Frame, Opcode
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from ..platform.errors import ApiError
from .preview_http import PIECE, check_answer, end_to_end, forwarded
from .sockets import subprotocols

HANDSHAKE_SECONDS = 30.0
#: The largest message that a server in a sandbox may send to a visitor: it is kept until it is complete. The other way
#: the limit is server.WS_MESSAGE_BYTES.
MESSAGE_BYTES = 16 * 1024 * 1024
_NORMAL = 1000
_GOING_AWAY = 1001
_PROTOCOL_ERROR = 1002
_NO_STATUS = 1005
_TOO_BIG = 1009
#: What only ever says how a connection ended, and is never sent.
_LOCAL = (_NO_STATUS, 1006, 1015)


async def forward_socket(
    port: int, path: str, scope: Scope, receive: Receive, send: Send, connection: socket.socket, protected: bool
) -> None:
    """The server's refusal of a handshake becomes that of the visitor's; 502 when it answers with none."""
    reader, writer = await asyncio.open_connection(sock=connection)
    visitor = WebSocket(scope, receive, send)
    try:
        far = _Far(port, path or "/", visitor, reader, writer, protected)
        refusal = await asyncio.wait_for(far.handshake(), HANDSHAKE_SECONDS)
        if refusal is not None:
            await visitor.send_denial_response(refusal)
            return
        await visitor.accept(subprotocol=far.subprotocol)
        await _pass_on(visitor, far)
    except InvalidURI as error:
        raise ApiError(400, f"the address cannot be passed on to the server in the sandbox: {error}") from None
    except (asyncio.TimeoutError, OSError, EOFError) as error:
        if visitor.application_state.name == "CONNECTING":
            raise ApiError(502, f"the server in the sandbox took no WebSocket: {error or 'no answer'}") from None
    except WebSocketDisconnect:
        pass
    finally:
        writer.close()


async def _pass_on(visitor: WebSocket, far: _Far) -> None:
    up, down = asyncio.ensure_future(_up(visitor, far)), asyncio.ensure_future(_down(visitor, far))
    try:
        await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (up, down):
            task.cancel()
        await asyncio.gather(up, down, return_exceptions=True)


async def _up(visitor: WebSocket, far: _Far) -> None:
    while True:
        message = await visitor.receive()
        if message["type"] == "websocket.disconnect":
            await far.close(message.get("code", _NO_STATUS), message.get("reason") or "")
            return
        text, data = message.get("text"), message.get("bytes")
        await far.send(text if text is not None else data or b"")


async def _down(visitor: WebSocket, far: _Far) -> None:
    async for message in far.messages():
        if isinstance(message, str):
            await visitor.send_text(message)
        else:
            await visitor.send_bytes(message)
    await visitor.close(far.close_code, far.close_reason)


def _raw(headers: Any) -> list[tuple[bytes, bytes]]:
    return [
        (name.encode("latin-1", "replace"), value.encode("latin-1", "replace")) for name, value in headers.raw_items()
    ]


def _sendable(code: int) -> int:
    return _NORMAL if code in _LOCAL else code


class _Far:
    """The server's side."""

    def __init__(
        self,
        port: int,
        path: str,
        visitor: WebSocket,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        protected: bool,
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
        for key, value in forwarded(end_to_end(scope["headers"]), port, "", scope, protected):
            name = key.decode("latin-1")
            if name != "host" and not name.startswith("sec-websocket-"):
                self._request.headers[name] = value.decode("latin-1")

    @property
    def subprotocol(self) -> Any:
        return self._protocol.subprotocol

    async def handshake(self) -> Union[Response, None]:
        """None when it was taken, else the server's answer."""
        self._protocol.send_request(self._request)
        await self._flush()
        while self._protocol.handshake_exc is None and self._protocol.state.name == "CONNECTING":
            await self._read()
        refused = self._protocol.handshake_exc
        if isinstance(refused, InvalidStatus):
            check_answer(refused.response.status_code, _raw(refused.response.headers))
            return Response(bytes(refused.response.body or b""), refused.response.status_code)
        if refused is not None:
            raise EOFError(str(refused))
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
        """Whole ones, until the server closes."""
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
                    continue  # pings are answered by the protocol
                if event.opcode is not Opcode.CONT:
                    is_text = event.opcode is Opcode.TEXT
                parts.append(bytes(event.data))
                if event.fin:
                    whole = b"".join(parts)
                    parts.clear()
                    yield whole.decode("utf-8", "replace") if is_text else whole
            if self._protocol.parser_exc is not None:
                self._note_failure(self._protocol.parser_exc)
                return
            if self._reader.at_eof():
                return
            await self._read()

    def _note_failure(self, error: Exception) -> None:
        """The server sent what is too large, or not a WebSocket's frames; it was sent a close frame that says so."""
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
        """As the visitor closed."""
        if self._protocol.state.name == "OPEN":
            self._protocol.send_close(_sendable(code), reason)
            await self._flush()
