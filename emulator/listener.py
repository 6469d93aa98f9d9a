"""Accept connections on a listening socket, also when file descriptors run out.

asyncio's own server writes a traceback for each failed attempt, up to its backlog of them in a row: megabytes a second.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Coroutine
from typing import Any, Callable, Optional

logger = logging.getLogger(__name__)

#: Connections that are accepted in one turn of the event loop.
BATCH = 32
RETRY_SECONDS = 0.1
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Listener:
    """Accepts the connections of one listening socket, on the running event loop.

    Args:
        sock: The listening socket. It is closed by `close`.
        on_connection: A coroutine function that owns the connection from then on.
        room: Returns how many connections may be accepted now, before each batch. At 0 they wait in the kernel's queue.
        label: The beginning of log messages: one when connections have to wait, one when they are accepted again.
    """

    def __init__(
        self,
        sock: socket.socket,
        on_connection: Callable[[socket.socket], Coroutine[Any, Any, Any]],
        room: Callable[[], int] = lambda: BATCH,
        label: str = "",
    ) -> None:
        self._sock = sock
        self._on_connection = on_connection
        self._label = f"{label}: " if label else ""
        self._room = room
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._retry: Optional[asyncio.TimerHandle] = None
        self._is_backing_off = False
        self._is_closed = False
        sock.setblocking(False)
        self._listen()

    def _listen(self) -> None:
        self._retry = None
        self._loop.add_reader(self._sock.fileno(), self._accept)

    def _accept(self) -> None:
        room = self._room()
        if room <= 0:
            return self._back_off("too many are open")
        for _ in range(min(BATCH, room)):
            try:
                connection, _address = self._sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _EXHAUSTED:
                    logger.error("%saccepting a connection failed: %s", self._label, error)
                return self._back_off(str(error.strerror))
            if self._is_backing_off:
                self._is_backing_off = False
                logger.info("%sconnections are accepted again", self._label)
            task = self._loop.create_task(self._on_connection(connection))
            self._tasks.add(task)
            task.add_done_callback(self._finish)

    def _finish(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            logger.error("%sa connection failed: %r", self._label, task.exception())

    def _back_off(self, reason: str) -> None:
        if not self._is_backing_off:
            self._is_backing_off = True
            logger.warning(
                "%sconnections have to wait: %s; raise the limit (`ulimit -n`) or close some", self._label, reason
            )
        self._loop.remove_reader(self._sock.fileno())
        self._retry = self._loop.call_later(RETRY_SECONDS, self._listen)

    def close(self) -> None:
        """Stop accepting, and close the listening socket. May be called again."""
        if self._is_closed:
            return
        self._is_closed = True
        if self._retry is not None:
            self._retry.cancel()
        elif self._sock.fileno() >= 0:
            self._loop.remove_reader(self._sock.fileno())
        self._sock.close()

    async def wait_closed(self) -> None:
        """Return when `on_connection` has returned for each connection that was accepted."""
        await asyncio.gather(*self._tasks, return_exceptions=True)
