"""A minimal client of the emulator's WebSockets for tests, without the SDK."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from types import TracebackType
from typing import Any, Callable, Optional
from urllib.parse import SplitResult, urlsplit

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

SECONDS = 60.0
MARK = "0123456789abcdef"


def open_socket(
    base_url: str, path: str, token: str, subprotocol: Optional[str] = None, **options: Any
) -> ClientConnection:
    """Open the WebSocket at `path` below /v1, with its query. The token is last, as in the platform's clients."""
    url = f"{base_url.replace('http', 'ws', 1)}/v1{path}{'&' if '?' in path else '?'}token={token}"
    options.setdefault("proxy", None)
    return connect(url, subprotocols=[subprotocol] if subprotocol else None, open_timeout=SECONDS, **options)  # type: ignore[list-item]


def leave_handshake(base_url: str, sandbox: str, token: str, seen: Callable[[], object]) -> None:
    """Begin the handshake of a terminal, and close the connection without its response once `seen` is true."""
    parts = urlsplit(base_url)
    request = (
        f"GET /v1/sandboxes/{sandbox}/terminal?token={token} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    _leave(parts, request, seen)


def leave_exec(base_url: str, sandbox: str, token: str, command: str, has_begun: Callable[[], object]) -> None:
    """Send an exec, and close the connection without its response once `has_begun` is true."""
    parts = urlsplit(base_url)
    body = json.dumps({"command": command})
    request = (
        f"POST /v1/sandboxes/{sandbox}/exec HTTP/1.1\r\nHost: {parts.netloc}\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    )
    _leave(parts, request, has_begun)


def _leave(parts: SplitResult, request: str, is_time: Callable[[], object]) -> None:
    with socket.create_connection((parts.hostname, parts.port), timeout=SECONDS) as connection:
        connection.sendall(request.encode())
        deadline = time.monotonic() + SECONDS
        while not is_time():
            assert time.monotonic() < deadline, f"the emulator did not notice in {SECONDS:g} s: {request[:60]}"
            time.sleep(0.01)


class Term:
    """A terminal that a test types into and reads. `text` is everything shown so far."""

    def __init__(self, base_url: str, sandbox: str, token: str, size: str = "?rows=24&cols=80", **options: Any) -> None:
        self._connecting = open_socket(base_url, f"/sandboxes/{sandbox}/terminal{size}", token, "terminal", **options)
        self.socket = self._connecting.__enter__()
        self._parts: list[str] = []
        self.messages: list[dict[str, Any]] = []
        self.closed: Optional[int] = None

    @property
    def text(self) -> str:
        if len(self._parts) > 1:
            self._parts = ["".join(self._parts)]
        return self._parts[0] if self._parts else ""

    def __enter__(self) -> Term:
        return self

    def __exit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self._connecting.__exit__(kind, error, trace)

    def send(self, message: object) -> None:
        self.socket.send(message if isinstance(message, str) else json.dumps(message))

    def type(self, text: str) -> None:
        self.send({"type": "input", "data": text})

    def take(self, seconds: float) -> bool:
        """Receive one message. False if there is none, or the socket is closed."""
        try:
            message = json.loads(self.socket.recv(timeout=seconds))
        except TimeoutError:
            return False
        except ConnectionClosed as closed:
            self.closed = closed.rcvd.code if closed.rcvd else 1006
            return False
        self.messages.append(message)
        if message["type"] == "output":
            self._parts.append(message["data"])
        return True

    def until(self, shown: str | Callable[[str], object], seconds: float = SECONDS) -> str:
        """Wait for a text on the screen, or until a function of the text is true. Returns everything shown."""
        found = shown if callable(shown) else lambda text: shown in text
        deadline = time.monotonic() + seconds
        while not found(self.text):
            assert self.closed is None, f"closed ({self.closed}) before {shown!r} was shown: {self.text!r}"
            assert time.monotonic() < deadline, f"waited {seconds:g} s for {shown!r}: {self.text[-2000:]!r}"
            self.take(0.2)
        return self.text

    def prompt(self) -> Term:
        """Wait for the shell's prompt."""
        self.until(lambda text: text.endswith(("# ", "$ ")))
        return self

    def until_closed(self, seconds: float = SECONDS) -> int:
        deadline = time.monotonic() + seconds
        while self.closed is None:
            assert time.monotonic() < deadline, f"the socket was not closed within {seconds:g} s: {self.text[-500:]!r}"
            self.take(0.2)
        return self.closed


def stream_lines(command: str, mark: str = MARK) -> list[str]:
    """Return what a streaming client types for a command (wire-contract.md 4.3)."""
    return [
        f"stty -echo 2>/dev/null; printf '%s\\n' '__CAGED_BEGIN_{mark}__'\n",
        command if command.endswith("\n") else command + "\n",
        f"__caged_rc=$?; printf '%s%d\\n' '__CAGED_EXIT_{mark}__' \"$__caged_rc\"; exit \"$__caged_rc\"\n",
    ]


def streamed(term: Term, command: str, seconds: float = 60.0) -> tuple[str, Optional[int]]:
    """Run a command in a quiet shell. Returns (exact output, exit code); the code is None if the shell died."""
    with contextlib.suppress(ConnectionClosed):  # the command may end the shell before all lines are sent
        for line in stream_lines(command):
            term.type(line)
    end = f"__CAGED_EXIT_{MARK}__"
    deadline = time.monotonic() + seconds
    recent = term.text
    while end not in recent and term.closed is None:
        assert time.monotonic() < deadline, f"no end within {seconds:g} s: {term.text[-500:]!r}"
        if term.take(0.5):  # search only the new part, with an overlap for a marker in two messages
            recent = recent[-len(end) :] + term.messages[-1].get("data", "")
    output = term.text.partition(f"__CAGED_BEGIN_{MARK}__\n")[2]
    output, found, rest = output.partition(end)
    return output, int(rest.partition("\n")[0]) if found else None
