"""A client of the emulator's sockets that speaks the wire and nothing more, for tests."""

from __future__ import annotations

import json
import time
from types import TracebackType
from typing import Any, Callable, Optional

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

SECONDS = 10.0
MARK = "0123456789abcdef"


def open_socket(
    base_url: str, path: str, token: str, subprotocol: Optional[str] = None, **options: Any
) -> ClientConnection:
    """`path` below /v1, with its query; the token is put last, as the platform's clients do."""
    url = f"{base_url.replace('http', 'ws', 1)}/v1{path}{'&' if '?' in path else '?'}token={token}"
    options.setdefault("proxy", None)
    return connect(url, subprotocols=[subprotocol] if subprotocol else None, open_timeout=SECONDS, **options)  # type: ignore[list-item]


class Term:
    """A terminal as a program sees it that types and looks. `text` is all that was shown so far."""

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
        """Takes one message; False when there is none, or the socket is closed."""
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
        """Waits for a text on the screen (or for what a function looks for), and returns all that was shown."""
        found = shown if callable(shown) else lambda text: shown in text
        deadline = time.monotonic() + seconds
        while not found(self.text):
            assert self.closed is None, f"closed ({self.closed}) before {shown!r} was shown: {self.text!r}"
            assert time.monotonic() < deadline, f"waited {seconds:g} s for {shown!r}: {self.text[-2000:]!r}"
            self.take(0.2)
        return self.text

    def prompt(self) -> Term:
        """Waits until the shell waits."""
        self.until(lambda text: text.endswith(("# ", "$ ")))
        return self

    def until_closed(self, seconds: float = SECONDS) -> int:
        deadline = time.monotonic() + seconds
        while self.closed is None:
            assert time.monotonic() < deadline, f"the socket was not closed within {seconds:g} s: {self.text[-500:]!r}"
            self.take(0.2)
        return self.closed


def stream_lines(command: str, mark: str = MARK) -> list[str]:
    """What a streaming client types around a command (wire-contract.md 4.3)."""
    return [
        f"stty -echo 2>/dev/null; printf '%s\\n' '__CAGED_BEGIN_{mark}__'\n",
        command if command.endswith("\n") else command + "\n",
        f"__caged_rc=$?; printf '%s%d\\n' '__CAGED_EXIT_{mark}__' \"$__caged_rc\"; exit \"$__caged_rc\"\n",
    ]


def streamed(term: Term, command: str, seconds: float = 30.0) -> tuple[str, Optional[int]]:
    """(exact output, exit code) of a command in a quiet shell; the code is None when the shell died of it."""
    for line in stream_lines(command):
        term.type(line)
    end = f"__CAGED_EXIT_{MARK}__"
    deadline = time.monotonic() + seconds
    recent = term.text
    while end not in recent and term.closed is None:
        assert time.monotonic() < deadline, f"no end within {seconds:g} s: {term.text[-500:]!r}"
        if term.take(0.5):  # of many megabytes only what is new, and what an end in two parts may have begun with
            recent = recent[-len(end) :] + term.messages[-1].get("data", "")
    output = term.text.partition(f"__CAGED_BEGIN_{MARK}__\n")[2]
    output, found, rest = output.partition(end)
    return output, int(rest.partition("\n")[0]) if found else None
