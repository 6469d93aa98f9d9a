"""Init's side of the programs inside that ask the emulator: their questions go out, its answers come back.

They connect to the socket `init.sock` in a directory. A question is one frame; it becomes the event
`ask {id, question}`. Answers arrive as `answer {id, output?, then?, exit_code?}`, and exit_code ends the conversation;
`then` asks the program to do something, of which a new question may come. A program that goes before that is told of
as `unasked {id}`.

Any process of the sandbox can connect and send anything. So what is accepted is bounded in every dimension, a question
is rebuilt from the fields that it may have, and nothing here waits for a client.
"""

from __future__ import annotations

import os
import select
import socket

from . import frames

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Optional

#: Conversations at a time; with one more, the oldest that has not asked anything yet ends.
MOST_CONVERSATIONS = 64
#: Bytes of questions that have not arrived completely, of all conversations together.
MOST_PENDING_BYTES = 2 * frames.QUESTION_BYTES
#: Bytes of answers that wait for one program to read them; with more, the next answer disconnects it.
MOST_UNREAD_BYTES = 16 * 1024 * 1024
_MOST_ARGUMENTS = 100_000
#: What `shim.py` sends.
_FIELDS = frozenset(("kind", "program", "arguments", "cwd", "stdin"))
_KINDS = ("agent", "program", "answer")


class _Conversation:
    """With a program inside that asked. Its number is never used again, unlike its descriptor's."""

    def __init__(self, number: int, sock: socket.socket) -> None:
        self.id = number
        self.socket = sock
        self.receiver = frames.Receiver(sock, frames.QUESTION_BYTES, accept_descriptors=False)
        self.has_asked = False
        self.is_answered = True  # nothing is waited for; a question may come
        self.unread = bytearray()
        self.is_ending = False  # with the last of `unread`


class Conversations:
    """Those of one sandbox. Their descriptors are registered with `poll`; `send` tells the emulator of a question."""

    def __init__(self, directory: str, poll: select.poll, send: Callable[[dict[str, Any]], None]) -> None:
        self._poll = poll
        self._send = send
        self._count = 0
        self._open: dict[int, _Conversation] = {}  # by descriptor, oldest first
        # Bound by a relative name: the full path may exceed what a socket address holds.
        os.chdir(directory)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind("init.sock")
        self._listener.listen(16)
        self._listener.setblocking(False)
        poll.register(self._listener, select.POLLIN)

    def ready(self, fd: int, event: int) -> None:
        """To be called when `poll` reports a descriptor; one that is not ours is left alone."""
        if fd == self._listener.fileno():
            self._accept()
            return
        conversation = self._open.get(fd)
        if conversation is not None and event & select.POLLOUT:
            self._write(conversation)
        if fd in self._open and event & ~select.POLLOUT:
            self._read(self._open[fd])

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return
        if len(self._open) >= MOST_CONVERSATIONS:
            idle = next((one for one in self._open.values() if not one.has_asked), None)
            if idle is None:
                connection.close()
                return
            self._hang_up(idle)
        connection.setblocking(False)
        self._count += 1
        self._open[connection.fileno()] = _Conversation(self._count, connection)
        self._poll.register(connection, select.POLLIN)

    def _read(self, conversation: _Conversation) -> None:
        try:
            for message, _ in conversation.receiver.receive():
                self._ask(conversation, _checked(message))
            if sum(one.receiver.pending for one in self._open.values()) > MOST_PENDING_BYTES:
                raise ValueError("too much is on its way")
        except BlockingIOError:
            pass
        except (EOFError, OSError, ValueError, TypeError, AttributeError, RecursionError, MemoryError):
            self._hang_up(conversation)  # gone, or no program of ours

    def _ask(self, conversation: _Conversation, question: dict[str, Any]) -> None:
        if not conversation.is_answered:
            raise ValueError("a question before the answer to the last one")
        conversation.has_asked = True
        conversation.is_answered = False
        self._send({"ev": "ask", "id": conversation.id, "question": question})

    def answer(self, message: dict[str, Any]) -> None:
        """What the emulator answers; nothing happens when the program that asked is gone."""
        conversation = next((one for one in self._open.values() if one.id == message["id"]), None)
        if conversation is None or conversation.is_ending:
            return
        if len(conversation.unread) > MOST_UNREAD_BYTES:
            self._hang_up(conversation)
            return
        conversation.unread += frames.encode({key: message[key] for key in message if key not in ("op", "id")})
        conversation.is_answered = message.get("then") == "stdin"
        conversation.is_ending = "exit_code" in message
        self._write(conversation)

    def _write(self, conversation: _Conversation) -> None:
        """As much of the answers as the program takes now; the rest follows when it reads on."""
        try:
            while conversation.unread:
                with memoryview(conversation.unread) as unread:
                    sent = conversation.socket.send(unread[: 1 << 20])
                del conversation.unread[:sent]
        except BlockingIOError:
            self._poll.modify(conversation.socket, select.POLLIN | select.POLLOUT)
            return
        except OSError:
            self._hang_up(conversation)
            return
        if conversation.is_ending:
            self._hang_up(conversation)
        else:
            self._poll.modify(conversation.socket, select.POLLIN)

    def _hang_up(self, conversation: _Conversation) -> None:
        if self._open.pop(conversation.socket.fileno(), None) is None:
            return
        self._poll.unregister(conversation.socket)
        conversation.receiver.close()
        conversation.socket.close()
        if conversation.has_asked and not conversation.is_ending:
            self._send({"ev": "unasked", "id": conversation.id})


def _checked(message: Any) -> dict[str, Any]:
    """The question with the fields that it may have, so that nothing deeper travels on. ValueError when there are
    others, or one has another type."""
    if not _FIELDS.issuperset(message) or message.get("kind") not in _KINDS:
        raise ValueError("not a question")
    question: dict[str, Any] = {}
    for name in ("kind", "program", "cwd"):
        question[name] = _text(message.get(name, ""))
    arguments = message.get("arguments", [])
    if not isinstance(arguments, list) or len(arguments) > _MOST_ARGUMENTS:
        raise ValueError("arguments is not a list, or too long")
    question["arguments"] = [_text(word) for word in arguments]
    stdin: Optional[str] = message.get("stdin")
    if stdin is not None:
        question["stdin"] = _text(stdin)
    return question


def _text(value: Any) -> str:
    """A string that the emulator can write into a UTF-8 file. ValueError for anything else."""
    if not isinstance(value, str):
        raise ValueError("not a string")
    value.encode("utf-8", "surrogateescape")  # a half of a surrogate pair raises UnicodeEncodeError
    return value
