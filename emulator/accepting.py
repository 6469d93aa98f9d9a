"""Accepting connections on a listening socket, also when descriptors run out.

asyncio's own server writes a traceback for each attempt then, up to its backlog of them in a row: megabytes a second.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Coroutine
from typing import Any, Callable, Optional

logger = logging.getLogger(__name__)

#: Connections taken in one turn of the loop.
BATCH = 32
RETRY_SECONDS = 0.1
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Acceptor:
    """Passes each connection to `connected`, a coroutine function that owns it from then on. `room`: how many may be
    taken now, asked before each batch; when it is 0 they wait in the kernel's queue. `label` is the
    beginning of the lines that the log gets, one when connections have to wait and one when they do not any more."""

    def __init__(
        self,
        listening: socket.socket,
        connected: Callable[[socket.socket], Coroutine[Any, Any, Any]],
        room: Callable[[], int] = lambda: BATCH,
        label: str = "",
    ) -> None:
        self._listening = listening
        self._connected = connected
        self._label = f"{label}: " if label else ""
        self._room = room
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._retry: Optional[asyncio.TimerHandle] = None
        self._waiting = False
        self._closed = False
        listening.setblocking(False)
        self._listen()

    def _listen(self) -> None:
        self._retry = None
        self._loop.add_reader(self._listening.fileno(), self._accept)

    def _accept(self) -> None:
        room = self._room()
        if room <= 0:
            return self._back_off("too many are open")
        for _ in range(min(BATCH, room)):
            try:
                connection, _address = self._listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _EXHAUSTED:
                    logger.error("%saccepting a connection failed: %s", self._label, error)
                return self._back_off(str(error.strerror))
            if self._waiting:
                self._waiting = False
                logger.info("%sconnections are accepted again", self._label)
            task = self._loop.create_task(self._connected(connection))
            self._tasks.add(task)
            task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            logger.error("%sa connection failed: %r", self._label, task.exception())

    def _back_off(self, why: str) -> None:
        if not self._waiting:
            self._waiting = True
            logger.warning(
                "%sconnections have to wait: %s; raise the limit (`ulimit -n`) or close some", self._label, why
            )
        self._loop.remove_reader(self._listening.fileno())
        self._retry = self._loop.call_later(RETRY_SECONDS, self._listen)

    def close(self) -> None:
        """Stop accepting, and close the listening socket."""
        if self._closed:
            return
        self._closed = True
        if self._retry is not None:
            self._retry.cancel()
        elif self._listening.fileno() >= 0:
            self._loop.remove_reader(self._listening.fileno())
        self._listening.close()

    async def wait_closed(self) -> None:
        """As asyncio's servers have it: those who accepted connections wait for them."""
