"""An open WebSocket that sends and receives texts; None is its end, whatever the cause."""

from __future__ import annotations

import asyncio
import socket
import threading
import weakref
from typing import Optional

from websockets.asyncio.client import ClientConnection as AsyncConnection
from websockets.exceptions import ConcurrencyError, ConnectionClosed, WebSocketException
from websockets.protocol import State
from websockets.sync.client import ClientConnection

from .._errors import CagedConnectionError, CagedError
from .._event_loop import EventLoop
from .target import Target

# RuntimeError: two readers at once.
_MISUSE = (RuntimeError, WebSocketException)
# Seconds between two checks whether another reader has finished.
_OTHER_READER = 0.01


class AsyncChannel:
    """The channel of coroutines."""

    def __init__(self, connection: AsyncConnection, target: Target) -> None:
        self._connection = connection
        self._target = target
        self._loop = EventLoop(f"{target}")
        self._loop.enter()

    @property
    def closed(self) -> bool:
        return self._connection.state is not State.OPEN

    def check_loop(self) -> None:
        """Raise when another event loop is running, where the messages would never arrive.

        Raises:
            CagedError: Another loop than that of the connection is running.
        """
        self._loop.check()

    async def send(self, message: str) -> None:
        """Send one message; waits while the server is not reading.

        Raises:
            CagedConnectionError: It is closed.
        """
        self.check_loop()
        try:
            await self._connection.send(message)
        except ConnectionClosed:
            raise _closed(self._target) from None
        except _MISUSE as problem:
            raise _misuse_error(self._target, problem) from None

    async def receive(self) -> Optional[str]:
        """The next message, text or binary; bytes that are not UTF-8 become U+FFFD."""
        self.check_loop()
        try:
            return (await self._connection.recv(decode=False)).decode("utf-8", "replace")
        except ConnectionClosed:
            return None
        except _MISUSE as problem:
            raise _misuse_error(self._target, problem) from None

    async def receive_within(self, seconds: Optional[float]) -> Optional[str]:
        """The next message; raises `asyncio.TimeoutError` when none arrives in time."""
        return await asyncio.wait_for(self.receive(), seconds)

    async def close(self) -> None:
        """Send a close frame and wait for the answer, for a limited time. May be called twice."""
        self.check_loop()
        draining = asyncio.ensure_future(self._drain())
        try:
            await self._connection.close()
        finally:
            draining.cancel()
            await asyncio.gather(draining, return_exceptions=True)

    async def _drain(self) -> None:
        """Discard what arrives: the server's close frame comes after all unread messages."""
        while True:
            try:
                await self._connection.recv(decode=False)
            except ConcurrencyError:
                await asyncio.sleep(_OTHER_READER)
            except ConnectionClosed:
                return


class Channel:
    """The channel of threads. It disconnects when it is garbage-collected."""

    def __init__(self, connection: ClientConnection, target: Target) -> None:
        self._connection = connection
        self._target = target
        # The connection's own thread keeps it alive; this object is what the user can forget.
        self._finalizer = weakref.finalize(self, _hang_up, connection.socket)
        self._finalizer.atexit = False

    def send(self, message: str) -> None:
        """Send one message; waits while the server is not reading. Raises as `AsyncChannel.send` does."""
        try:
            self._connection.send(message)
        except ConnectionClosed:
            raise _closed(self._target) from None
        except _MISUSE as problem:
            raise _misuse_error(self._target, problem) from None

    def receive_within(self, seconds: Optional[float]) -> Optional[str]:
        """The next message, as from `AsyncChannel.receive`; `TimeoutError` when none arrives in time."""
        try:
            return self._connection.recv(seconds, decode=False).decode("utf-8", "replace")
        except ConnectionClosed:
            return None
        except _MISUSE as problem:
            raise _misuse_error(self._target, problem) from None

    def close(self) -> None:
        """Send a close frame and wait for the answer, for a limited time. May be called twice and by any thread."""
        self._finalizer.detach()
        closing = threading.Thread(target=self._connection.close, name="caged-close", daemon=True)
        closing.start()
        # The server's close frame comes after all unread messages.
        while closing.is_alive():
            try:
                self._connection.recv(_OTHER_READER, decode=False)
            except TimeoutError:
                pass
            except ConcurrencyError:
                closing.join(_OTHER_READER)
            except ConnectionClosed:
                break
        closing.join()


def _hang_up(connected: socket.socket) -> None:
    try:
        connected.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # it is closed already


def _closed(target: Target) -> CagedConnectionError:
    return CagedConnectionError(f"{target} is closed; open a new one")


def _misuse_error(target: Target, problem: Exception) -> CagedError:
    return CagedError(f"{target}: {problem}")
