"""Calls of functions that work on files of a sandbox with users of its own.

On disk these files belong to subordinate ids of the emulator's user, which may not read, change or remove them. So one
process in a user namespace with the same users, as their root, makes such calls (`root_process.py`). It is started with
the first call. Function, arguments and result are pickled; a function that cannot be, such as a closure, is called
back here. All functions block.
"""

from __future__ import annotations

import errno
import io
import os
import pickle
import select
import socket
import struct
import subprocess
import sys
import threading
import time
from typing import Any, Callable, Optional, TypeVar

from ..workers import STOP_SECONDS, CallStopped, checkpoint
from .inside import frames, id_mapping, libc
from .subordinate_ids import SubordinateIds

T = TypeVar("T")

START_LIMIT = 30.0
STOP_LIMIT = 5.0
#: Seconds between two looks at whether the call was stopped.
_LOOK_SECONDS = 0.1
LENGTH = struct.Struct("!Q")
_BOOT = "import sys; sys.path[:] = {path!r}; from {package} import root_process as it; it.main({arguments})"


class RootCalls:
    """The emulator's end of the process.

    Args:
        ids: The users of its namespace.
        held: Descriptors that it keeps open as long as it runs.
    """

    def __init__(self, ids: SubordinateIds, held: tuple[int, ...] = ()) -> None:
        self._ids = ids
        self._held = held
        self._lock = threading.Lock()
        self._process: Optional[subprocess.Popen[bytes]] = None
        self._control: Optional[socket.socket] = None
        self._is_closed = False

    def call(self, function: Callable[..., T], *arguments: Any, descriptor: Optional[int] = None) -> T:
        """Return `function(*arguments)`, called in the process; its exceptions are raised here.

        Args:
            function: A function of a module.
            arguments: Its arguments.
            descriptor: A descriptor to send, whose number there is a further, last argument. It stays open here.

        Raises:
            OSError: The process cannot be started, has ended meanwhile, or was closed. CallStopped: The call was
                stopped.
        """
        functions: list[Callable[..., Any]] = []
        request = _pickle((function, arguments), functions)
        ours = self._open_call(descriptor)
        with ours:
            try:
                send(ours, request)
                while True:
                    kind, value = pickle.loads(_receive_patiently(ours))
                    if kind == "returned":
                        result: T = value
                        return result
                    if kind == "raised":
                        raise value
                    send(ours, outcome(functions[value[0]], value[1]))
            except (EOFError, ConnectionError):
                raise OSError(
                    errno.EIO, "the emulator's process for files of a sandbox's users has ended; try again"
                ) from None

    def _open_call(self, descriptor: Optional[int]) -> socket.socket:
        """Start the process unless it runs, and return a socket for one call."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        descriptors = [theirs.fileno(), *([descriptor] if descriptor is not None else [])]
        with self._lock, theirs:
            try:
                if self._is_closed:  # a thread that begins when the emulator ends would leave a process
                    raise OSError(errno.ECANCELED, "the emulator has ended")
                if self._control is not None:
                    try:
                        frames.send_first(self._control, b"c", descriptors)
                        return ours
                    except OSError as error:
                        if frames.is_refused(error):
                            raise OSError(error.errno, frames.refusal()) from None
                        self._stop()  # it was killed
                frames.send_first(self._start(), b"c", descriptors)
                return ours
            except BaseException:
                ours.close()
                raise

    def _start(self) -> socket.socket:
        if not sys.executable:
            raise OSError(errno.ENOENT, "this Python does not know its own executable (sys.executable is empty)")
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        path = [os.path.abspath(entry) for entry in sys.path]
        arguments = f"{theirs.fileno()}, {os.getpid()}, {self._held!r}"
        boot = _BOOT.format(path=path, package=__name__.rpartition(".")[0], arguments=arguments)
        kept = ("PYTHON", "LD_LIBRARY_PATH", "LANG", "LC_")
        try:
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, "-X", "utf8", "-c", boot],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno(), *self._held],
                    env={"PATH": os.defpath, **{k: v for k, v in os.environ.items() if k.startswith(kept)}},
                    cwd="/",
                    start_new_session=True,
                )
            ours.settimeout(START_LIMIT)
            _expect(ours, b"n", "cannot make a user namespace")
            failure = ""
            try:
                id_mapping.write_maps(self._process.pid, self._ids.as_json())
            except libc.IsolationError as error:
                failure = str(error)
            ours.sendall(b"m" if not failure else b"f")
            if failure:
                raise OSError(errno.EPERM, failure)
            _expect(ours, b"r", "does not start")
            ours.settimeout(None)
            self._control = ours
            return ours
        except BaseException:
            ours.close()
            self._stop()
            raise

    def _stop(self) -> None:
        if self._control is not None:
            try:
                self._control.shutdown(socket.SHUT_RDWR)  # a fork of this process may have a copy
            except OSError:
                pass
            self._control.close()
            self._control = None
        process, self._process = self._process, None
        if process is not None:
            try:
                process.wait(STOP_LIMIT)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def close(self) -> None:
        """End the process, within STOP_LIMIT seconds, and refuse further calls. Repeating it has no effect."""
        with self._lock:
            self._is_closed = True
            self._stop()


def _expect(control: socket.socket, byte: bytes, otherwise: str) -> None:
    try:
        answer = control.recv(1)
    except socket.timeout:
        answer = b""
    if answer != byte:
        raise OSError(errno.EIO, f"the emulator's process for files of a sandbox's users {otherwise}")


class _Pickler(pickle.Pickler):
    """Pickles functions that cannot be found by their names as their place in a list."""

    def __init__(self, file: io.BytesIO, functions: list[Callable[..., Any]]) -> None:
        super().__init__(file, protocol=pickle.HIGHEST_PROTOCOL)
        self._functions = functions

    def persistent_id(self, value: Any) -> Optional[int]:
        if "<locals>" not in getattr(value, "__qualname__", "") or isinstance(value, type):
            return None
        self._functions.append(value)
        return len(self._functions) - 1


def _pickle(value: Any, functions: list[Callable[..., Any]]) -> bytes:
    file = io.BytesIO()
    _Pickler(file, functions).dump(value)
    return file.getvalue()


def outcome(function: Callable[..., Any], arguments: tuple[Any, ...]) -> bytes:
    """Call a function, and return its result or its exception, pickled."""
    try:
        return pickle.dumps(("returned", function(*arguments)), pickle.HIGHEST_PROTOCOL)
    except BaseException as error:
        return _pickle_error(error)


def _pickle_error(error: BaseException) -> bytes:
    error.__cause__ = error.__context__ = None
    try:
        pickled = pickle.dumps(("raised", error), pickle.HIGHEST_PROTOCOL)
        pickle.loads(pickled)
        return pickled
    except Exception:
        number = error.errno if isinstance(error, OSError) and error.errno else errno.EIO
        return pickle.dumps(("raised", OSError(number, f"{type(error).__name__}: {error}")))


def send(connection: socket.socket, pickled: bytes) -> None:
    """Send one message."""
    connection.sendall(LENGTH.pack(len(pickled)))
    connection.sendall(pickled)


def receive(connection: socket.socket) -> bytes:
    """Return the next message. Raises EOFError."""
    (length,) = LENGTH.unpack(_receive_exactly(connection, LENGTH.size))
    return _receive_exactly(connection, length)


def _receive_exactly(connection: socket.socket, count: int) -> bytes:
    received = bytearray(count)
    view, done = memoryview(received), 0
    while done < count:
        size = connection.recv_into(view[done:])
        if not size:
            raise EOFError
        done += size
    return bytes(received)


def _receive_patiently(connection: socket.socket) -> bytes:
    """Return the next message, and stop the call when that is requested. Raises EOFError and CallStopped."""
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    try:
        while not poll.poll(_LOOK_SECONDS * 1000):
            checkpoint()
    except CallStopped:
        connection.shutdown(socket.SHUT_WR)  # the process sees it at its next checkpoint
        deadline = time.monotonic() + STOP_SECONDS
        connection.settimeout(STOP_SECONDS)
        try:
            while connection.recv(1 << 16) and time.monotonic() < deadline:
                pass
        except OSError:
            pass
        raise
    return receive(connection)
