"""Messages over a stream socket: a 4-byte length, a JSON object, and file descriptors that are sent with it.

A stream rather than SOCK_SEQPACKET, because a command may be larger than the largest packet. A message that
carries descriptors says how many in its `fds` key; the kernel keeps their order.
"""

from __future__ import annotations

import array
import errno
import json
import os
import socket
import struct
import time
from collections import deque

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    Message = dict[str, Any]


#: The longest request of a shim. JSON needs up to six bytes for a byte of its standard input.
SHIM_REQUEST_BYTES = 4 * 1024 * 1024
#: The longest message between the emulator, its zygote and the inits.
MESSAGE_BYTES = 256 * 1024 * 1024

#: `json.dumps` would make a new encoder for each message.
_encode = json.JSONEncoder(separators=(",", ":")).encode
_HEADER = struct.Struct("!I")
_MAX_FDS = 16
#: Seconds for which descriptors that the kernel does not take are sent again, and between two attempts. It refuses an
#: ordinary user's with ETOOMANYREFS while more than RLIMIT_NOFILE descriptors of that user are on their way, whatever
#: processes have sent them: those of one sandbox count for all others.
REFUSED_SECONDS, REFUSED_PAUSE = 2.0, 0.01
_FD_SIZE = array.array("i").itemsize
_CLOEXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)


def encode(message: Message, fds: Sequence[int] = ()) -> bytes:
    """Return the bytes of a message, which says how many descriptors are sent with it."""
    if fds:
        message = dict(message, fds=len(fds))
    payload = _encode(message).encode("ascii")
    return _HEADER.pack(len(payload)) + payload


def send_some(sock: socket.socket, data: bytes, fds: Sequence[int] = ()) -> int:
    """Send once. Returns the number of bytes sent; the descriptors are sent with the first byte."""
    if not fds:
        return sock.send(data)
    return sock.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))])


def is_refused(error: OSError) -> bool:
    """Return whether the kernel does not take descriptors at the moment; see REFUSED_SECONDS."""
    return error.errno == errno.ETOOMANYREFS


def refusal() -> str:
    """Return the text for a message that could not be sent within REFUSED_SECONDS."""
    return (
        f"the kernel has passed no descriptor on for {REFUSED_SECONDS:g} s, because processes of this user, perhaps in"
        " another sandbox, have sent too many that were not received; end them and try again"
    )


def send_first(sock: socket.socket, data: bytes, fds: Sequence[int] = ()) -> int:
    """As `send_some`, on a blocking socket, but wait up to REFUSED_SECONDS while descriptors are refused."""
    deadline = None
    while True:
        try:
            return send_some(sock, data, fds)
        except OSError as error:
            now = time.monotonic()
            deadline = deadline or now + REFUSED_SECONDS
            if not is_refused(error) or now > deadline:
                raise
        time.sleep(REFUSED_PAUSE)


def send(sock: socket.socket, message: Message, fds: Sequence[int] = ()) -> None:
    """Send a whole message on a blocking socket. Raises as `send_first`."""
    data = encode(message, fds)
    sent = send_first(sock, data, fds)
    if sent < len(data):
        sock.sendall(data[sent:])


def report_failure(fd: int, error: str) -> None:
    """Report on a sandbox's control socket that it cannot start. Without effect where the other side has gone: who
    reports has to go on."""
    try:
        with socket.socket(fileno=os.dup(fd)) as control:
            send(control, {"ev": "failed", "error": error})
    except OSError:
        pass


def _parse(text: bytes) -> Message:
    try:
        # Decoded here: json would detect other encodings, whose codecs this interpreter may be unable to import.
        message = json.loads(text.decode("utf-8"))
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(message, dict):
        raise ValueError("not a JSON object")
    return message


class Receiver:
    """Reads messages with their descriptors. It owns the descriptors until it returns them.

    Args:
        sock: The stream socket to read.
        limit: The most bytes of one message.
        accept_descriptors: False makes the kernel close descriptors that arrive, before they count in this process.
    """

    def __init__(self, sock: socket.socket, limit: int = MESSAGE_BYTES, accept_descriptors: bool = True) -> None:
        self._sock = sock
        self._limit = limit
        self._space = socket.CMSG_SPACE(_MAX_FDS * _FD_SIZE) if accept_descriptors else 0
        self._buffer = bytearray()
        self._fds: deque[int] = deque()

    def receive(self) -> list[tuple[Message, list[int]]]:
        """Call recvmsg once, and return the messages that are complete, each with its descriptors.

        Raises:
            EOFError: The stream has ended.
            ValueError: What arrived is not JSON, not an object, nested too deeply, or longer than the limit.
        """
        data, ancillary, _flags, _address = self._sock.recvmsg(1 << 16, self._space, _CLOEXEC)
        if ancillary:
            self._keep_descriptors(ancillary)
        if not data:
            raise EOFError
        if not self._buffer and len(data) >= _HEADER.size:
            (length,) = _HEADER.unpack_from(data)
            if length == len(data) - _HEADER.size <= self._limit:  # one whole message, as nearly always
                message = _parse(data[_HEADER.size :])
                return [(message, self._take(message))]
        self._buffer += data
        return list(self._complete())

    def _keep_descriptors(self, ancillary: Sequence[tuple[int, int, bytes]]) -> None:
        for level, kind, payload in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds = array.array("i")
                fds.frombytes(payload[: len(payload) - len(payload) % _FD_SIZE])
                if not _CLOEXEC:
                    for fd in fds:
                        os.set_inheritable(fd, False)
                self._fds.extend(fds)

    def _complete(self) -> Any:
        while len(self._buffer) >= _HEADER.size:
            (length,) = _HEADER.unpack_from(self._buffer)
            if length > self._limit:
                raise ValueError(f"a message of {length} bytes; at most {self._limit} are accepted")
            end = _HEADER.size + length
            if len(self._buffer) < end:
                return
            message = _parse(bytes(self._buffer[_HEADER.size : end]))
            del self._buffer[:end]
            yield message, self._take(message)

    def _take(self, message: Message) -> list[int]:
        """Take the descriptors of a message: fewer than were sent when this process could not have more."""
        if not self._fds:
            return []
        return [self._fds.popleft() for _ in range(min(message.get("fds", 0), len(self._fds)))]

    @property
    def pending(self) -> int:
        """Bytes of a message that has not arrived completely."""
        return len(self._buffer)

    def close(self) -> None:
        while self._fds:
            os.close(self._fds.popleft())
