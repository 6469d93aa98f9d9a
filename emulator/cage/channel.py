"""The emulator's end of a control socket, on the event loop."""

from __future__ import annotations

import asyncio
import logging
import os
import select
import socket
from collections import deque
from collections.abc import Sequence
from typing import Callable, Optional

from .inside import frames

logger = logging.getLogger(__name__)


class Channel:
    """Sends and receives messages with descriptors.

    Args:
        sock: The socket.
        on_message: Called with every message that arrives, and its descriptors, which it has to close.
        on_end: Called once, when the other side has closed the socket or `close` was called.
        on_refused: Called with a message, and its descriptors, which the kernel has not taken for REFUSED_SECONDS
            seconds (`frames.py`), and which is not sent any more.
    """

    def __init__(
        self,
        sock: socket.socket,
        on_message: Callable[[frames.Message, list[int]], None],
        on_end: Callable[[], None],
        on_refused: Callable[[frames.Message, list[int]], None],
    ) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._on_message = on_message
        self._on_end = on_end
        self._on_refused = on_refused
        self._receiver = frames.Receiver(sock)
        self._loop = asyncio.get_running_loop()
        self._unsent: deque[tuple[frames.Message, bytes, list[int]]] = deque()
        #: Since when the kernel refuses the first of them; None when it does not.
        self._refused_since: Optional[float] = None
        self._again: Optional[asyncio.TimerHandle] = None
        self.closed = False
        self._loop.add_reader(sock, self._readable)

    def is_connected(self) -> bool:
        """Whether the other side has its end open, and has sent nothing that was not read yet."""
        if self.closed:
            return False
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        return not poll.poll(0)

    def send(self, message: frames.Message, fds: Sequence[int] = ()) -> None:
        """Send a message now, or as soon as the other side reads. Without effect when the channel is closed.

        The caller keeps its descriptors, because duplicates are kept of those that wait.

        Raises:
            OSError: There is no descriptor left for a duplicate.
        """
        if self.closed:
            return
        data = frames.encode(message, fds)
        sent: Optional[int] = 0
        if not self._unsent:
            self._refused_since = None
            sent = self._send_some(data, fds)
            if sent is None or sent == len(data):
                return
        self._unsent.append((message, data[sent:], [] if sent else [os.dup(fd) for fd in fds]))
        if len(self._unsent) == 1:
            self._flush_later()

    def _send_some(self, data: bytes, fds: Sequence[int]) -> Optional[int]:
        """Send as much as the other side has room for. The number of bytes; None when the channel was closed."""
        try:
            sent = frames.send_some(self._sock, data, fds)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as error:
            if frames.is_refused(error):
                self._refused_since = self._refused_since or self._loop.time()
                return 0
            self._close_after(error)
            return None
        self._refused_since = None
        return sent

    def _flush_later(self) -> None:
        """Continue when the other side reads; or in a moment, since it may read while the kernel refuses."""
        if self._refused_since is None:
            self._loop.add_writer(self._sock, self._flush)
        else:
            self._loop.remove_writer(self._sock)
            self._again = self._loop.call_later(frames.REFUSED_PAUSE, self._flush)

    def _flush(self) -> None:
        while self._unsent:
            message, data, fds = self._unsent[0]
            sent = self._send_some(data, fds)
            if sent is None:
                return
            if sent < len(data):
                if sent:
                    _close_all(fds)
                    self._unsent[0] = (message, data[sent:], [])
                if self._refused_since is None or self._loop.time() - self._refused_since < frames.REFUSED_SECONDS:
                    self._flush_later()
                    return
                self._on_refused(message, fds)  # and those that wait behind it are tried only once
            _close_all(fds)
            self._unsent.popleft()
        self._loop.remove_writer(self._sock)

    def _readable(self) -> None:
        try:
            messages = self._receiver.receive()
        except (BlockingIOError, InterruptedError):
            return
        except EOFError:
            self.close()
            return
        except (OSError, ValueError) as error:
            self._close_after(error)  # what follows cannot be read
            return
        for message, fds in messages:
            self._on_message(message, fds)

    def _close_after(self, error: Exception) -> None:
        if not isinstance(error, ConnectionError):  # which means that the other side has ended
            logger.warning("a connection to the processes of sandboxes is closed: %s", error)
        self.close()

    def close(self) -> None:
        if self.closed:
            return
        self.closed = True
        self._loop.remove_reader(self._sock)
        self._loop.remove_writer(self._sock)
        if self._again is not None:
            self._again.cancel()
        for _message, _data, fds in self._unsent:
            _close_all(fds)
        self._unsent.clear()
        self._receiver.close()
        self._sock.close()
        self._on_end()


def _close_all(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)
