"""The process that works on files of a sandbox's users, as the root of a user namespace that has them.

Each call comes with a socket of its own and runs in a thread. The process ends with the emulator, at once: whatever it
was writing is incomplete then, as after any end of the emulator.
"""

from __future__ import annotations

import array
import io
import os
import pickle
import select
import socket
import threading
from typing import Any, Callable, Optional

from ..workers import StopToken, stoppable
from .inside import id_mapping, libc
from .root_calls import outcome, receive, send


def main(control_fd: int, emulator: int, held: tuple[int, ...]) -> None:
    """Run the process.

    Args:
        control_fd: The socket that leads to the emulator.
        emulator: The process number of the emulator.
        held: Descriptors that stay open.
    """
    control = socket.socket(fileno=control_fd)
    for fd in (control_fd, *held):
        os.set_inheritable(fd, False)
    try:
        id_mapping.enter_new_user_namespace()
    except libc.IsolationError:
        return
    control.sendall(b"n")
    if control.recv(1) != b"m":
        return
    os.setgroups([])
    poll = select.poll()
    poll.register(control, select.POLLIN)
    if hasattr(os, "pidfd_open"):
        # End of file is not enough: a fork of the emulator's process may have a copy of its end.
        try:
            poll.register(os.pidfd_open(emulator), select.POLLIN)
        except OSError:
            pass  # an older kernel
    control.sendall(b"r")
    while True:
        if any(fd != control_fd for fd, _ in poll.poll()):
            os._exit(0)
        data, descriptors = _receive_descriptors(control)
        if not data:
            os._exit(0)
        if descriptors:
            threading.Thread(target=_serve, args=(descriptors,), daemon=True).start()


def _receive_descriptors(control: socket.socket) -> tuple[bytes, list[int]]:
    data, ancillary, _flags, _address = control.recvmsg(1, socket.CMSG_SPACE(2 * array.array("i").itemsize))
    found = array.array("i")
    for level, kind, payload in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            found.frombytes(payload)
    for fd in found:
        os.set_inheritable(fd, False)
    return data, list(found)


class _Stop(StopToken):
    """Stopped when the emulator has closed its side of the call."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    @property
    def reason(self) -> Optional[str]:  # type: ignore[override]
        try:
            gone = not self._connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return None
        except OSError:
            gone = True
        return "its caller has stopped it" if gone else None


class _Unpickler(pickle.Unpickler):
    """Reads functions of the emulator as functions that call them."""

    def __init__(self, pickled: bytes, connection: socket.socket) -> None:
        super().__init__(io.BytesIO(pickled))
        self._connection = connection

    def persistent_load(self, number: Any) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            send(self._connection, pickle.dumps(("call", (number, arguments)), pickle.HIGHEST_PROTOCOL))
            kind, value = pickle.loads(receive(self._connection))
            if kind == "raised":
                raise value
            return value

        return call


def _serve(descriptors: list[int]) -> None:
    with socket.socket(fileno=descriptors[0]) as connection:
        try:
            request = receive(connection)
            with stoppable(_Stop(connection)):
                send(connection, outcome(_call, (request, connection, descriptors[1:])))
        except (EOFError, OSError):
            pass  # the emulator does not wait any more


def _call(request: bytes, connection: socket.socket, descriptors: list[int]) -> Any:
    # Within `outcome`, because the modules of a function may not be there any more.
    function, arguments = _Unpickler(request, connection).load()
    return function(*arguments, *descriptors)
