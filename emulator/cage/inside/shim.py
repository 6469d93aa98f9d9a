"""A program inside of a sandbox that asks the emulator for its answer: an agent's command, a program that a test
stands in for, or what a shell runs in place of a command.

    shim.py DIRECTORY OPT KIND PROGRAM [ARGUMENT ...]

DIRECTORY holds the socket of the sandbox's init, OPT is its /opt/caged. What the words mean is decided by the emulator,
not here; standard input is read only when the emulator wants it, and never from a terminal. The emulator may also say
that the real program is to run, with what was read of its input.
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
    # As if it were the program itself: no traceback for Ctrl-C, nor for a reader that has gone.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    if _KEPT in os.environ:
        kept = os.environ.pop(_KEPT)
        os.environ.pop(_LIBRARIES, None)
        if kept:
            os.environ[_LIBRARIES] = kept
    try:
        cwd = os.getcwd()
    except OSError:
        cwd = ""
    question: dict[str, Any] = {"kind": kind, "program": program, "arguments": arguments, "cwd": cwd}
    read: Optional[bytes] = None
    try:
        connection = _connect(directory, cwd)
        _send(connection, question)
    except (OSError, ValueError) as error:
        print(f"{program}: the emulator does not answer ({error})", file=sys.stderr)
        return 1
    receiver = frames.Receiver(connection)
    while True:
        try:
            messages = receiver.receive()
        except (EOFError, OSError):
            print(f"{program}: the emulator went away before it answered", file=sys.stderr)
            return 1
        for message, _ in messages:
            sys.stdout.write(message.get("output", ""))
            sys.stdout.flush()
            if message.get("then") == "stdin":
                read = _standard_input()
                try:
                    _send(connection, {**question, "stdin": read.decode("utf-8", "replace")})
                except ValueError as error:
                    print(f"{program}: standard input is too large for the emulator ({error})", file=sys.stderr)
                    return 1
                except OSError:
                    pass  # the next look at the connection says it
            elif message.get("then") == "real":
                return _become_real(opt, program, arguments, read, message)
            elif "exit_code" in message:
                return int(message["exit_code"])


def _send(connection: socket.socket, question: dict[str, Any]) -> None:
    """ValueError for a question that would not be accepted."""
    size = len(frames.encode(question))
    if size > frames.QUESTION_BYTES:
        raise ValueError(f"the question has {size} bytes; at most {frames.QUESTION_BYTES} are accepted")
    frames.send(connection, question)


def _connect(directory: str, cwd: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    os.chdir(directory)  # the full path may exceed what a socket address holds
    try:
        connection.connect("init.sock")
    finally:
        if cwd:
            os.chdir(cwd)
    return connection


def _standard_input() -> bytes:
    if sys.stdin is None or sys.stdin.isatty():
        return b""
    return sys.stdin.buffer.read(frames.QUESTION_BYTES + 1)  # more could not be sent on, and must not be held


def _become_real(
    opt: str, program: str, arguments: tuple[str, ...], read: Optional[bytes], message: dict[str, Any]
) -> int:
    """`path`: where it is looked for, else what the emulator has put aside for it and PATH. `missing`: what to say when
    it is nowhere."""
    path = _real(opt, program, message.get("path"))
    if path is None:
        print(message.get("missing") or f"{program}: command not found", file=sys.stderr)
        return 127
    if read is not None and not (sys.stdin is None or sys.stdin.isatty()):
        _give_back(read)
    words = [program, *arguments]
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # Python ignores it, and it would be inherited
    try:
        os.execv(path, words)
    except OSError as error:
        if error.errno == errno.ENOEXEC:  # a script without a first line that says whose
            os.execv("/bin/sh", ["sh", path, *arguments])
        print(f"{program}: {path}: {error.strerror}", file=sys.stderr)
        return 126


def _real(opt: str, program: str, path: Optional[str]) -> Optional[str]:
    places = [f"{opt}/real"] if path is None else []
    own = os.path.realpath(f"{opt}/bin")
    places += [place or "." for place in (os.environ.get("PATH", "") if path is None else path).split(":")]
    for place in places:
        found = f"{place}/{program}"
        if os.path.realpath(place) != own and os.path.isfile(found) and os.access(found, os.X_OK):
            return found
    return None


def _give_back(read: bytes) -> None:
    """As the standard input of the program that this process becomes."""
    import tempfile

    with tempfile.TemporaryFile() as file:
        file.write(read)
        file.seek(0)
        os.dup2(file.fileno(), 0)
