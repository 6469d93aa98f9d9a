"""uvicorn around the application: bind first, then serve; in a thread or in the foreground."""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import Any, Callable, Optional

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from .config import ConfigError, EmulatorConfig

BACKLOG = 512
#: After the sandboxes are gone every request ends by itself; what has not after this is cut.
GRACE_SECONDS = 3
#: The largest message that a client may send: the platform's limit for MCP (wire-other-clients.md 6).
WS_MESSAGE_BYTES = 4 * 1024 * 1024
#: A client whose message is refused is read from until it has sent nothing for so long, and at most so long.
LINGER_QUIET_SECONDS, LINGER_MOST_SECONDS = 0.1, 5.0
#: Longer than any client keeps an idle connection, so that none meets one that is just being closed.
KEEP_ALIVE_SECONDS = 90


def bind(config: EmulatorConfig) -> socket.socket:
    """A listening socket, so that a port in use shows at once and port 0 is resolved at once."""
    try:
        family, kind, proto, _name, address = socket.getaddrinfo(
            config.host, config.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        sock = socket.socket(family, kind, proto)
    except OSError as error:
        raise ConfigError(f"cannot listen on {config.host!r}: {error}") from error
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise ConfigError(
            f"cannot listen on {config.host}:{config.port}: {error.strerror}; choose another port, or 0 for a free one"
        ) from error
    return sock


def url_of(sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    if host in ("0.0.0.0", "::"):
        host = "127.0.0.1" if host == "0.0.0.0" else "::1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class Server:
    """`serve` returns after `stop` was called. Signals are the caller's business."""

    def __init__(self, app: ASGIApp, sock: socket.socket, on_ready: Callable[[], None]) -> None:
        self._sock = sock
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
            ws=_WebSocket,
            ws_max_size=WS_MESSAGE_BYTES,
            # A client that reads slowly answers no ping either; its connection's end is seen without.
            ws_ping_interval=None,
            ws_ping_timeout=None,
            ws_per_message_deflate=False,  # on one machine it costs more than it saves
            http="h11",
            loop="asyncio",
            backlog=BACKLOG,
            timeout_graceful_shutdown=GRACE_SECONDS,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            server_header=False,
            proxy_headers=False,
        )
        self._uvicorn = _Uvicorn(config, on_ready)

    async def serve(self) -> None:
        await self._uvicorn.run_on(self._sock)

    def stop(self) -> None:
        """Stops taking connections and ends when the requests in progress have ended."""
        self._uvicorn.should_exit = True
        self._uvicorn.stopping.set()


_silent = logging.getLogger(f"{__name__}.sockets")
_silent.setLevel(logging.WARNING)


class _WebSocket(WebSocketsSansIOProtocol):
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
        else:
            self._heard_at = self.loop.time()

    def connection_lost(self, exc: Optional[Exception]) -> None:
        if self._lingering is not None:
            self._lingering.cancel()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        if self._lingering is not None:
            self.transport.abort()
        else:
            super().shutdown()

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
        response = self.conn.reject(self._refusal["status"], self._refusal_body.decode("utf-8", "replace"))
        for name, value in self._refusal["headers"]:
            key = name.decode("latin-1")
            if key in response.headers:
                del response.headers[key]
            response.headers[key] = value.decode("latin-1")
        self.conn.send_response(response)
        self.handshake_complete = self.close_sent = True
        self.queue.put_nowait({"type": "websocket.disconnect", "code": 1006})
        self.transport.write(b"".join(self.conn.data_to_send()))

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()


class _Uvicorn(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready
        self.stopping = asyncio.Event()

    async def startup(self, sockets: Optional[list[socket.socket]] = None) -> None:
        await super().startup(sockets=sockets)
        self._on_ready()

    async def main_loop(self) -> None:
        """As uvicorn's, but it ends at once when it is told to."""
        counter = 0
        while not await self.on_tick(counter):
            counter = (counter + 1) % 864000
            try:
                await asyncio.wait_for(self.stopping.wait(), 0.1)
            except asyncio.TimeoutError:
                pass

    async def run_on(self, sock: socket.socket) -> None:
        """What uvicorn's own `serve` does, without taking over the process's signals."""
        config = self.config
        if not config.loaded:
            config.load()
        self.lifespan = config.lifespan_class(config)
        await self.startup(sockets=[sock])
        if not self.should_exit:
            await self.main_loop()
        await self.shutdown(sockets=[sock])
