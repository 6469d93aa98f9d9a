"""A terminal of a sandbox as a client sees it: what it sends, and what it has received so far.

Texts to wait for are split by quotes in the input (`echo rea''dy`), so that the echo of the input does not match.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .assertions import shorten
from .context import Context
from .errors import Mismatch
from .raw_client import Socket

TERMINAL_QUERY = "?rows=24&cols=80"


class TerminalScreen:
    """The client's side of a terminal.

    Attributes:
        socket: The WebSocket.
        text: All output so far.
        messages: All messages so far.
    """

    def __init__(self, socket: Socket) -> None:
        self.socket = socket
        self.text = ""
        self.messages: list[Any] = []

    def type(self, text: str) -> None:
        """Send input."""
        self.socket.send({"type": "input", "data": text})

    def receive(self) -> bool:
        """Receive one message. Returns False when the socket is closed."""
        message = self.socket.receive()
        if message is None:
            return False
        self.messages.append(message)
        if isinstance(message, dict) and message.get("type") == "output" and isinstance(message.get("data"), str):
            self.text += message["data"]
        elif not isinstance(message, (dict, list, int, float)):
            self.text += str(message)
        return True

    def wait_for(self, shown: str) -> None:
        """Receive messages until the output contains a text."""
        try:
            while shown not in self.text:
                if not self.receive():
                    raise Mismatch(f"{shown!r} on the screen", f"closed with {self.socket.close_code} before it")
        except Mismatch as error:
            if error.expected == "a message":
                raise Mismatch(f"{shown!r} on the screen", shorten(repr(self.text[-100:]))) from None
            raise

    def wait_for_close(self) -> None:
        """Receive messages until the server closes the socket."""
        while self.receive():
            pass


def terminal_path(context: Context) -> str:
    """Return the URL path of a terminal of the shared sandbox."""
    return f"/sandboxes/{context.sandbox_id}/terminal{TERMINAL_QUERY}"


@contextmanager
def open_terminal(context: Context, query: str = TERMINAL_QUERY) -> Iterator[TerminalScreen]:
    """Open a terminal of the shared sandbox."""
    with context.socket("terminal", query) as socket:
        yield TerminalScreen(socket)
