"""A shim: a program inside a sandbox that prints what the emulator replies. It is an agent's command, a stubbed
program, or what a shell runs in place of a stubbed command.

    shim.py DIRECTORY OPT KIND PROGRAM [ARGUMENT ...]

DIRECTORY holds the socket of the sandbox's init, OPT is its /opt/caged. The emulator decides what the arguments mean;
standard input is read only when the emulator requests it, and never from a terminal. The emulator may also reply that
the real program is to run, with the input that was read.

It imports nothing that is written in Python but `os`: with `socket` and `json` it would start in twice the time. Where
a sandbox has Perl, `shim.pl` does the same, and starts in a quarter of the time.
"""

from __future__ import annotations

import _json
import _signal  # type: ignore[import-not-found]
import _socket
import errno
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional

#: frames.SHIM_REQUEST_BYTES, which is in a module that imports more.
REQUEST_BYTES = 4 * 1024 * 1024

#: What the starting script has set for the interpreter alone, and where it keeps what was there.
_LIBRARIES, _KEPT = "LD_LIBRARY_PATH", "CAGED_LD_LIBRARY_PATH"


def main(directory: str, opt: str, kind: str, program: str, *arguments: str) -> int:
    """Send the request, print the reply, and return the exit code."""
    # As if it were the program itself: no traceback for Ctrl-C, nor for a closed pipe.
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
    _signal.signal(_signal.SIGPIPE, _signal.SIG_DFL)
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
        words = ",".join(map(_json.encode_basestring_ascii, arguments))
        fields = {"kind": kind, "program": program, "cwd": self._cwd}
        self._request = f'{{"arguments":[{words}],{_fields(fields)}'
        self._stdin: Optional[bytes] = None

    def run(self, directory: str) -> int:
        try:
            connection = _connect(directory, self._cwd)
            _send(connection, f"{self._request}}}")
        except (OSError, ValueError) as error:
            return self._fail(f"the emulator does not answer ({error})")
        while True:
            try:
                length = int.from_bytes(_read_exactly(connection, 4), "big")
                message = _decoded(_read_exactly(connection, length))
            except (EOFError, OSError):
                return self._fail("the emulator went away before it answered")
            code = self._follow(message, connection)
            if code is not None:
                return code

    def _follow(self, message: dict[str, Any], connection: _socket.socket) -> Optional[int]:
        """Do what one message says. The exit code, once the reply is complete."""
        sys.stdout.write(message.get("output", ""))
        sys.stdout.flush()
        then = message.get("then")
        if then == "stdin":
            return self._send_stdin(connection)
        if then == "real":
            return self._run_real(message)
        return int(message["exit_code"]) if "exit_code" in message else None

    def _send_stdin(self, connection: _socket.socket) -> Optional[int]:
        self._stdin = _read_stdin()
        text = _fields({"stdin": self._stdin.decode("utf-8", "replace")})
        try:
            _send(connection, f"{self._request},{text}}}")
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
        _signal.signal(_signal.SIGXFSZ, _signal.SIG_DFL)  # Python ignores it, and it would be inherited
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


def _connect(directory: str, cwd: str) -> _socket.socket:
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    os.chdir(directory)  # the full path may exceed what a socket address holds
    try:
        connection.connect("init.sock")
    finally:
        if cwd:
            os.chdir(cwd)
    return connection


def _send(connection: _socket.socket, request: str) -> None:
    """Raises ValueError for a request that would not be accepted."""
    content = request.encode("ascii")
    size = 4 + len(content)
    if size > REQUEST_BYTES:
        raise ValueError(f"the request has {size} bytes; at most {REQUEST_BYTES} are accepted")
    connection.sendall(len(content).to_bytes(4, "big") + content)


def _read_exactly(connection: _socket.socket, length: int) -> bytes:
    """Raises EOFError at the end of the connection."""
    read = bytearray()
    while len(read) < length:
        piece = connection.recv(min(length - len(read), 1 << 20))
        if not piece:
            raise EOFError
        read += piece
    return bytes(read)


def _fields(fields: dict[str, str]) -> str:
    """The members of an object in JSON."""
    return ",".join(f'"{name}":{_json.encode_basestring_ascii(text)}' for name, text in fields.items())


class _JsonOptions:
    """What the scanner of `_json` reads of a `json.JSONDecoder`."""

    strict = True
    object_hook = object_pairs_hook = None
    parse_float, parse_int = float, int
    parse_constant = float


def _decoded(content: bytes) -> dict[str, Any]:
    options: Any = _JsonOptions
    message: dict[str, Any] = _json.make_scanner(options)(content.decode("ascii"), 0)[0]
    return message


def _read_stdin() -> bytes:
    if sys.stdin is None or sys.stdin.isatty():
        return b""
    return sys.stdin.buffer.read(REQUEST_BYTES + 1)  # more could not be sent, and must not be held


def _replace_stdin(content: bytes) -> None:
    """Make `content` the standard input of the program that this process becomes."""
    import tempfile  # only for a real program that gets its input back

    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.seek(0)
        os.dup2(file.fileno(), 0)
