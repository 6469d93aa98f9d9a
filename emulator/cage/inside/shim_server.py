"""Init's end of the connections from shims: requests go to the emulator, its replies come back.

Shims connect to the socket `init.sock` in a directory. A request is one frame; it becomes the event
`shim_request {id, request}`. Replies arrive as `shim_reply {id, output?, then?, exit_code?}`: `then` makes the shim do
something, which may lead to another request, and `exit_code` ends the conversation. A shim that disconnects before
that is reported as `shim_cancelled {id}`.

Any process of the sandbox can connect and send anything. So what is accepted is bounded in every dimension, a request
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

#: Conversations at a time; with one more, the oldest that has not sent a request yet ends.
MOST_CONVERSATIONS = 64
#: Bytes of requests that have not arrived completely, of all conversations together.
MOST_PENDING_BYTES = 2 * frames.SHIM_REQUEST_BYTES
#: Bytes of replies that wait for one shim to read them; with more, the next reply disconnects it.
MOST_UNREAD_BYTES = 16 * 1024 * 1024
_MOST_ARGUMENTS = 100_000
#: What `shim.py` sends.
_FIELDS = frozenset(("kind", "program", "arguments", "cwd", "stdin"))
_KINDS = ("agent", "program", "stub_output")


class _Conversation:
    """The connection of one shim. Its id is never used again, unlike its descriptor."""

    def __init__(self, number: int, sock: socket.socket) -> None:
        self.id = number
        self.socket = sock
        self.receiver = frames.Receiver(sock, frames.SHIM_REQUEST_BYTES, accept_descriptors=False)
        self.has_requested = False
        self.is_waiting = False  # for a reply; until then no other request is accepted
        self.unread = bytearray()
        self.is_ending = False  # once `unread` is sent


class ShimServer:
    """The conversations with the shims of one sandbox.

    Args:
        directory: Where `init.sock` is made.
        poll: Where descriptors are registered; its owner calls `ready`.
        send: Sends an event to the emulator.

    Raises:
        OSError: The socket cannot be made.
    """

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
        """Read and write what `poll` has reported as possible; a descriptor of others is ignored."""
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
            idle = next((one for one in self._open.values() if not one.has_requested), None)
            if idle is None:
                connection.close()
                return
            self._close(idle)
        connection.setblocking(False)
        self._count += 1
        self._open[connection.fileno()] = _Conversation(self._count, connection)
        self._poll.register(connection, select.POLLIN)

    def _read(self, conversation: _Conversation) -> None:
        try:
            for message, _ in conversation.receiver.receive():
                self._pass_on(conversation, _checked(message))
            if sum(one.receiver.pending for one in self._open.values()) > MOST_PENDING_BYTES:
                raise ValueError("too many bytes of incomplete requests")
        except BlockingIOError:
            pass
        except (EOFError, OSError, ValueError, TypeError, AttributeError, RecursionError, MemoryError):
            self._close(conversation)  # disconnected, or not a shim

    def _pass_on(self, conversation: _Conversation, request: dict[str, Any]) -> None:
        if conversation.is_waiting:
            raise ValueError("a request before the reply to the last one")
        conversation.has_requested = True
        conversation.is_waiting = True
        self._send({"ev": "shim_request", "id": conversation.id, "request": request})

    def reply(self, message: dict[str, Any]) -> None:
        """Send a reply of the emulator to its shim; without effect when that has disconnected."""
        conversation = next((one for one in self._open.values() if one.id == message["id"]), None)
        if conversation is None or conversation.is_ending:
            return
        if len(conversation.unread) > MOST_UNREAD_BYTES:
            self._close(conversation)
            return
        conversation.unread += frames.encode({key: message[key] for key in message if key not in ("op", "id")})
        conversation.is_waiting = message.get("then") != "stdin"
        conversation.is_ending = "exit_code" in message
        self._write(conversation)

    def _write(self, conversation: _Conversation) -> None:
        """Send as much of the replies as the shim takes now; the rest follows when it reads on."""
        try:
            while conversation.unread:
                with memoryview(conversation.unread) as unread:
                    sent = conversation.socket.send(unread[: 1 << 20])
                del conversation.unread[:sent]
        except BlockingIOError:
            self._poll.modify(conversation.socket, select.POLLIN | select.POLLOUT)
            return
        except OSError:
            self._close(conversation)
            return
        if conversation.is_ending:
            self._close(conversation)
        else:
            self._poll.modify(conversation.socket, select.POLLIN)

    def _close(self, conversation: _Conversation) -> None:
        if self._open.pop(conversation.socket.fileno(), None) is None:
            return
        self._poll.unregister(conversation.socket)
        conversation.receiver.close()
        conversation.socket.close()
        if conversation.has_requested and not conversation.is_ending:
            self._send({"ev": "shim_cancelled", "id": conversation.id})


def _checked(message: Any) -> dict[str, Any]:
    """The request with the fields that it may have, so that no nested value travels on. Raises ValueError for other
    fields and other types."""
    if not _FIELDS.issuperset(message) or message.get("kind") not in _KINDS:
        raise ValueError("not a request of a shim")
    request: dict[str, Any] = {}
    for name in ("kind", "program", "cwd"):
        request[name] = _text(message.get(name, ""))
    arguments = message.get("arguments", [])
    if not isinstance(arguments, list) or len(arguments) > _MOST_ARGUMENTS:
        raise ValueError("arguments is not a list, or too long")
    request["arguments"] = [_text(word) for word in arguments]
    stdin: Optional[str] = message.get("stdin")
    if stdin is not None:
        request["stdin"] = _text(stdin)
    return request


def _text(value: Any) -> str:
    """A string that the emulator can write into a UTF-8 file. Raises ValueError for any other value."""
    if not isinstance(value, str):
        raise ValueError("not a string")
    value.encode("utf-8", "surrogateescape")  # a half of a surrogate pair raises UnicodeEncodeError
    return value
