"""The connections on which the client has to send something next: which has been quiet for the longest time, and which
has exceeded its time."""

from __future__ import annotations

import itertools
from typing import Protocol

#: For the head of a request, from its first byte; for the first request, from the start of the connection.
HEAD_SECONDS = 30.0
#: For the body of a request, and one second more for each BODY_RATE bytes of it.
BODY_SECONDS = 30.0
BODY_RATE = 4096
#: Of the head of a request.
HEAD_BYTES = 64 * 1024
#: Connections that are considered for one eviction.
_EVICTION_CANDIDATES = 16


class Connection(Protocol):
    def expire(self, now: float) -> None:
        """End the connection if its client has exceeded its time. `now`: the event loop's time, in seconds."""

    def evict(self) -> bool:
        """End the connection, because another one needs its descriptor. False if its client has just sent
        something."""


class Connections:
    """Connections that wait for their client, in the order in which they went quiet. Used on the emulator's loop."""

    def __init__(self) -> None:
        self._unfinished: dict[Connection, None] = {}
        self._idle: dict[Connection, None] = {}

    def wait_for(self, connection: Connection, is_idle: bool) -> None:
        """Add a connection whose client has to send something, or note that the client has sent a part of it.

        Args:
            connection: The connection.
            is_idle: Every request on it is answered; otherwise it is new, or a request is unfinished.
        """
        self.forget(connection)
        (self._idle if is_idle else self._unfinished)[connection] = None

    def forget(self, connection: Connection) -> None:
        """Remove a connection: a request is being processed, or the connection has ended."""
        self._unfinished.pop(connection, None)
        self._idle.pop(connection, None)

    def expire(self, now: float) -> None:
        """End the connections whose client has exceeded its time. `now`: the event loop's time, in seconds."""
        for connection in list(self._unfinished):
            connection.expire(now)

    def evict(self) -> bool:
        """End the connection that has been quiet for the longest time.

        An idle one is ended only when no request is unfinished: its client may use it again at any moment.

        Returns:
            False when there is none to end.
        """
        for waiting in (self._unfinished, self._idle):
            for connection in list(itertools.islice(waiting, _EVICTION_CANDIDATES)):
                if connection.evict():
                    self.forget(connection)
                    return True
                self.wait_for(connection, waiting is self._idle)
        return False
