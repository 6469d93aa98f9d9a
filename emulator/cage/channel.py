"""The emulator's end of a control socket, on the event loop."""

from __future__ import annotations

import asyncio
import os
import select
import socket
from collections import deque
from collections.abc import Sequence
from typing import Callable, Optional

from .inside import frames


class Channel:
    """Sends and receives messages with descriptors.

    Args:
        sock: The socket.
        on_message: Called with every message that arrives, and its descriptors, which it has to close.
        on_end: Called once, when the other side has closed the socket or `close` was called.
    """

    def __init__(
        self,
        sock: socket.socket,
        on_message: Callable[[frames.Message, list[int]], None],
        on_end: Callable[[], None],
    ) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._on_message = on_message
        self._on_end = on_end
        self._receiver = frames.Receiver(sock)
        self._loop = asyncio.get_running_loop()
        self._unsent: deque[tuple[bytes, list[int]]] = deque()
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
            sent = self._send_some(data, fds)
            if sent is None or sent == len(data):
                return
        self._unsent.append((data[sent:], [] if sent else [os.dup(fd) for fd in fds]))
        if len(self._unsent) == 1:
            self._loop.add_writer(self._sock, self._flush)

    def _send_some(self, data: bytes, fds: Sequence[int]) -> Optional[int]:
        """Send as much as the other side has room for. The number of bytes; None when the channel was closed."""
        try:
            return frames.send_some(self._sock, data, fds)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError:
            self.close()
            return None

    def _flush(self) -> None:
        while self._unsent:
            data, fds = self._unsent[0]
            sent = self._send_some(data, fds)
            if not sent:
                return
            _close_all(fds)
            if sent < len(data):
                self._unsent[0] = (data[sent:], [])
                return
            self._unsent.popleft()
        self._loop.remove_writer(self._sock)

    def _readable(self) -> None:
        try:
            messages = self._receiver.receive()
        except (BlockingIOError, InterruptedError):
            return
        except (EOFError, OSError, ValueError):
            self.close()  # closed, or not what init and the zygote send: what follows cannot be read
            return
        for message, fds in messages:
            self._on_message(message, fds)

    def close(self) -> None:
        if self.closed:
            return
        self.closed = True
        self._loop.remove_reader(self._sock)
        self._loop.remove_writer(self._sock)
        for _data, fds in self._unsent:
            _close_all(fds)
        self._unsent.clear()
        self._receiver.close()
        self._sock.close()
        self._on_end()


def _close_all(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)
