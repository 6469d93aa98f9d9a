"""The connections whose client has to send something before there is work: which has been quiet the longest, and which
has had its time."""

from __future__ import annotations

import itertools
from typing import Protocol

#: For the head of a request, from its first byte, or from the connection's start when it is the first.
HEAD_SECONDS = 30.0
#: For a request's body, and one second more for each BODY_RATE bytes of it.
BODY_SECONDS = 30.0
BODY_RATE = 4096
#: Of a request's head.
HEAD_BYTES = 64 * 1024
#: Connections that are considered for one eviction.
_LOOKED_AT = 16


class Quiet(Protocol):
    def expire(self, now: float) -> None:
        """End the connection if its client has had its time."""

    def evict(self) -> bool:
        """End the connection, because another needs its descriptor. False when its client has just sent something."""


class Clients:
    """Quiet connections, the longest quiet first. Used on the emulator's loop."""

    def __init__(self) -> None:
        self._unfinished: dict[Quiet, None] = {}
        self._idle: dict[Quiet, None] = {}

    def wait_for(self, connection: Quiet, is_idle: bool) -> None:
        """Its client sent something, and more is needed; or it is new; or it `is_idle`: everything was answered."""
        self.forget(connection)
        (self._idle if is_idle else self._unfinished)[connection] = None

    def forget(self, connection: Quiet) -> None:
        """There is work, or the connection has ended."""
        self._unfinished.pop(connection, None)
        self._idle.pop(connection, None)

    def expire(self, now: float) -> None:
        for connection in list(self._unfinished):
            connection.expire(now)

    def evict(self) -> bool:
        """End the connection that has been quiet the longest; an idle one, whose client may use it again at any moment,
        only when no request is unfinished. False when there is none."""
        for quiet in (self._unfinished, self._idle):
            for connection in list(itertools.islice(quiet, _LOOKED_AT)):
                if connection.evict():
                    self.forget(connection)
                    return True
                self.wait_for(connection, quiet is self._idle)
        return False
