"""What git runs in place of ssh where there are fake repositories: it connects to their server (`repositories/`).

    git_ssh.py PORT SECRET [OPTION ...] [USER@]HOST COMMAND

The options are those that git gives ssh: -4, -6, -G, -o NAME=VALUE, -p PORT. `repositories/ssh_session.py` describes
what the server sends.
"""

from __future__ import annotations

import base64
import os
import signal
import socket
import sys
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional

OUTPUT, ERRORS, END = 1, 2, 0
_FAILED = 255
_SAFE = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~/@"


def main(port: str, secret: str, *arguments: str) -> int:
    """Run one command on the server, and return its exit code."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    words = list(arguments)
    ssh_port = ""
    while words and words[0].startswith("-"):
        option = words.pop(0)
        if option in ("-o", "-p") and words:
            value = words.pop(0)
            ssh_port = value if option == "-p" else ssh_port
    if len(words) < 2:
        print("ssh: only git can use it here, and needs a command", file=sys.stderr)
        return _FAILED
    try:
        with socket.create_connection(("127.0.0.1", int(port)), 30) as connection:
            connection.settimeout(None)
            connection.sendall(_head(secret, words[0], ssh_port, " ".join(words[1:])))
            threading.Thread(target=_send_input, args=(connection,), daemon=True).start()
            code = _receive(connection)
    except OSError as error:
        print(f"ssh: the server of fake repositories cannot be reached: {error}", file=sys.stderr)
        return _FAILED
    # The thread may still wait for input that never comes.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _head(secret: str, destination: str, port: str, command: str) -> bytes:
    credentials = base64.b64encode(f"caged:{secret}".encode()).decode()
    lines = [
        f"SSH {_quoted(destination)} HTTP/1.1",
        f"Proxy-Authorization: Basic {credentials}",
        f"Port: {_quoted(port)}",
        f"Command: {_quoted(command)}",
        f"Git-Protocol: {_quoted(os.environ.get('GIT_PROTOCOL', '')).replace('%3D', '=').replace('%3A', ':')}",
        "",
        "",
    ]
    return "\r\n".join(lines).encode("ascii")


def _quoted(text: str) -> str:
    return "".join(chr(byte) if byte in _SAFE else f"%{byte:02X}" for byte in os.fsencode(text))


def _send_input(connection: socket.socket) -> None:
    try:
        while True:
            data = os.read(0, 65536)
            if not data:
                connection.shutdown(socket.SHUT_WR)
                return
            connection.sendall(data)
    except OSError:
        return  # the server has ended the conversation


def _receive(connection: socket.socket) -> int:
    while True:
        head = _exactly(connection, 5)
        data = _exactly(connection, int.from_bytes(head[1:], "big")) if head is not None else None
        if head is None or data is None:
            print("ssh: the connection was closed", file=sys.stderr)
            return _FAILED
        if head[0] == END:
            return int(data)
        _write(1 if head[0] == OUTPUT else 2, data)


def _exactly(connection: socket.socket, count: int) -> Optional[bytes]:
    pieces = []
    while count:
        piece = connection.recv(min(count, 65536))
        if not piece:
            return None
        pieces.append(piece)
        count -= len(piece)
    return b"".join(pieces)


def _write(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]
