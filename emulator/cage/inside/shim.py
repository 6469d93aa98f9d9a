"""A shim: a program inside a sandbox that prints what the emulator replies. It is an agent's command, a stubbed
program, or what a shell runs in place of a stubbed command.

    shim.py DIRECTORY OPT KIND PROGRAM [ARGUMENT ...]

DIRECTORY holds the socket of the sandbox's init, OPT is its /opt/caged. The emulator decides what the arguments mean;
standard input is read only when the emulator requests it, and never from a terminal. The emulator may also reply that
the real program is to run, with the input that was read.
"""

from __future__ import annotations

import errno
import os
import signal
import socket
import sys

from . import frames

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional

#: What the starting script has set for the interpreter alone, and where it keeps what was there.
_LIBRARIES, _KEPT = "LD_LIBRARY_PATH", "CAGED_LD_LIBRARY_PATH"


def main(directory: str, opt: str, kind: str, program: str, *arguments: str) -> int:
    """Send the request, print the reply, and return the exit code."""
    # As if it were the program itself: no traceback for Ctrl-C, nor for a closed pipe.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    _restore_library_path()
    return _Shim(opt, kind, program, arguments).run(directory)


def _restore_library_path() -> None:
    if _KEPT in os.environ:
        kept = os.environ.pop(_KEPT)
        os.environ.pop(_LIBRARIES, None)
        if kept:
            os.environ[_LIBRARIES] = kept


class _Shim:
    """One request and its reply."""

    def __init__(self, opt: str, kind: str, program: str, arguments: tuple[str, ...]) -> None:
        self._opt = opt
        self._program = program
        self._arguments = arguments
        self._cwd = _working_directory()
        self._request = {"kind": kind, "program": program, "arguments": arguments, "cwd": self._cwd}
        self._stdin: Optional[bytes] = None

    def run(self, directory: str) -> int:
        try:
            connection = _connect(directory, self._cwd)
            _send(connection, self._request)
        except (OSError, ValueError) as error:
            return self._fail(f"the emulator does not answer ({error})")
        receiver = frames.Receiver(connection)
        while True:
            try:
                messages = receiver.receive()
            except (EOFError, OSError):
                return self._fail("the emulator went away before it answered")
            for message, _ in messages:
                code = self._follow(message, connection)
                if code is not None:
                    return code

    def _follow(self, message: dict[str, Any], connection: socket.socket) -> Optional[int]:
        """Do what one message says. The exit code, once the reply is complete."""
        sys.stdout.write(message.get("output", ""))
        sys.stdout.flush()
        then = message.get("then")
        if then == "stdin":
            return self._send_stdin(connection)
        if then == "real":
            return self._run_real(message)
        return int(message["exit_code"]) if "exit_code" in message else None

    def _send_stdin(self, connection: socket.socket) -> Optional[int]:
        self._stdin = _read_stdin()
        try:
            _send(connection, {**self._request, "stdin": self._stdin.decode("utf-8", "replace")})
        except ValueError as error:
            return self._fail(f"standard input is too large for the emulator ({error})")
        except OSError:
            pass  # the next read from the connection reports it
        return None

    def _run_real(self, message: dict[str, Any]) -> int:
        """Become the real program. `path` of the message: where it is looked for, by default what the emulator has put
        aside for it and PATH. `missing`: what to print when it is in none of these."""
        path = self._find_real(message.get("path"))
        if path is None:
            print(message.get("missing") or f"{self._program}: command not found", file=sys.stderr)
            return 127
        if self._stdin is not None and not (sys.stdin is None or sys.stdin.isatty()):
            _replace_stdin(self._stdin)
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # Python ignores it, and it would be inherited
        try:
            os.execv(path, [self._program, *self._arguments])
        except OSError as error:
            if error.errno == errno.ENOEXEC:  # a script without a line that names its interpreter
                os.execv("/bin/sh", ["sh", path, *self._arguments])
            print(f"{self._program}: {path}: {error.strerror}", file=sys.stderr)
            return 126

    def _find_real(self, path: Optional[str]) -> Optional[str]:
        places = [f"{self._opt}/real"] if path is None else []
        own = os.path.realpath(f"{self._opt}/bin")
        places += [place or "." for place in (os.environ.get("PATH", "") if path is None else path).split(":")]
        for place in places:
            found = f"{place}/{self._program}"
            if os.path.realpath(place) != own and os.path.isfile(found) and os.access(found, os.X_OK):
                return found
        return None

    def _fail(self, reason: str) -> int:
        print(f"{self._program}: {reason}", file=sys.stderr)
        return 1


def _working_directory() -> str:
    try:
        return os.getcwd()
    except OSError:
        return ""  # it was removed


def _connect(directory: str, cwd: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    os.chdir(directory)  # the full path may exceed what a socket address holds
    try:
        connection.connect("init.sock")
    finally:
        if cwd:
            os.chdir(cwd)
    return connection


def _send(connection: socket.socket, request: dict[str, Any]) -> None:
    """Raises ValueError for a request that would not be accepted."""
    size = len(frames.encode(request))
    if size > frames.SHIM_REQUEST_BYTES:
        raise ValueError(f"the request has {size} bytes; at most {frames.SHIM_REQUEST_BYTES} are accepted")
    frames.send(connection, request)


def _read_stdin() -> bytes:
    if sys.stdin is None or sys.stdin.isatty():
        return b""
    return sys.stdin.buffer.read(frames.SHIM_REQUEST_BYTES + 1)  # more could not be sent, and must not be held


def _replace_stdin(content: bytes) -> None:
    """Make `content` the standard input of the program that this process becomes."""
    import tempfile  # only for a real program that gets its input back

    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.seek(0)
        os.dup2(file.fileno(), 0)
