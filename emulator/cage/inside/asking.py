"""Init's side of the programs inside that ask the emulator: their questions go out, its answers come back.

They connect to the socket `init.sock` in a directory. A question is one frame; it becomes the event
`ask {id, question}`. Answers arrive as `answer {id, output?, then?, exit_code?}`, and exit_code ends the conversation;
`then` asks the program to do something, of which a new question may come. A program that goes before that is told of
as `unasked {id}`.
"""

from __future__ import annotations

import os
import select
import socket

from . import frames

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

#: How long a program may let an answer lie before it is hung up on: everything in init waits meanwhile.
SEND_LIMIT = 5.0


class _Conversation:
    """With a program inside that asked. Its number is never used again, unlike its descriptor's."""

    def __init__(self, number: int, sock: socket.socket) -> None:
        self.id = number
        self.socket = sock
        self.receiver = frames.Receiver(sock)


class Conversations:
    """Those of one sandbox. Their descriptors are registered with `poll`; `send` tells the emulator of a question."""

    def __init__(self, directory: str, poll: select.poll, send: Callable[[dict[str, Any]], None]) -> None:
        self._poll = poll
        self._send = send
        self._count = 0
        self._open: dict[int, _Conversation] = {}  # by descriptor
        # Bound by a relative name: the full path may exceed what a socket address holds.
        os.chdir(directory)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind("init.sock")
        self._listener.listen(16)
        self._listener.setblocking(False)
        poll.register(self._listener, select.POLLIN)

    def readable(self, fd: int) -> None:
        """To be called when `poll` says so of a descriptor; one that is not ours is left alone."""
        if fd == self._listener.fileno():
            self._accept()
        elif fd in self._open:
            self._read_question(fd)

    def _accept(self) -> None:
        try:
            conversation, _ = self._listener.accept()
        except OSError:
            return
        self._count += 1
        self._open[conversation.fileno()] = _Conversation(self._count, conversation)
        self._poll.register(conversation, select.POLLIN)

    def _read_question(self, fd: int) -> None:
        asking = self._open[fd]
        try:
            for message, fds in asking.receiver.receive():
                for sent in fds:
                    os.close(sent)
                self._send({"ev": "ask", "id": asking.id, "question": dict(message)})
        except (EOFError, OSError, ValueError, TypeError, AttributeError):
            self._hang_up(fd)  # gone, or no program of ours
            self._send({"ev": "unasked", "id": asking.id})

    def answer(self, message: dict[str, Any]) -> None:
        """What the emulator answers; nothing happens when the program that asked is gone."""
        asking = next((asking for asking in self._open.values() if asking.id == message["id"]), None)
        if asking is None:
            return
        fd = asking.socket.fileno()
        try:
            asking.socket.settimeout(SEND_LIMIT)
            frames.send(asking.socket, {key: message[key] for key in message if key not in ("op", "id")})
        except OSError:
            self._hang_up(fd)
            self._send({"ev": "unasked", "id": message["id"]})
            return
        if "exit_code" in message:
            self._hang_up(fd)

    def _hang_up(self, fd: int) -> None:
        asking = self._open.pop(fd)
        self._poll.unregister(fd)
        asking.receiver.close()
        asking.socket.close()
