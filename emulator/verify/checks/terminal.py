"""The terminal of a person. Texts that are waited for are split by quotes where they are typed, so that their echo is
not taken for what is printed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..assertions import assert_equal, assert_true, shorten
from ..check import Group
from ..context import Context
from ..errors import Mismatch
from ..raw_client import Socket

group = Group("terminal")


class Screen:
    """A terminal that is looked at. `text` is all that it has shown, `messages` all that came."""

    def __init__(self, socket: Socket) -> None:
        self.socket = socket
        self.text = ""
        self.messages: list[Any] = []

    def type(self, text: str) -> None:
        self.socket.send({"type": "input", "data": text})

    def take(self) -> bool:
        """One message; False when the socket is closed."""
        message = self.socket.receive()
        if message is None:
            return False
        self.messages.append(message)
        if isinstance(message, dict) and message.get("type") == "output" and isinstance(message.get("data"), str):
            self.text += message["data"]
        elif not isinstance(message, (dict, list, int, float)):
            self.text += str(message)
        return True

    def until(self, shown: str) -> None:
        """Waits for a text."""
        try:
            while shown not in self.text:
                if not self.take():
                    raise Mismatch(f"{shown!r} on the screen", f"closed with {self.socket.close_code} before it")
        except Mismatch as error:
            if error.expected == "a message":
                raise Mismatch(f"{shown!r} on the screen", shorten(repr(self.text[-100:]))) from None
            raise


@contextmanager
def opened(context: Context, query: str = "?rows=24&cols=80") -> Iterator[Screen]:
    with context.socket("terminal", query) as socket:
        yield Screen(socket)


@group.contract("subprotocol", "The subprotocol that is asked for is echoed, or none.", "wire-contract 4.1")
def subprotocol(context: Context) -> None:
    with opened(context) as screen:
        assert_true(screen.socket.subprotocol in (None, "terminal"), "terminal", repr(screen.socket.subprotocol))


@group.decision("subprotocol-echoed", "The subprotocol that is asked for is echoed.", "Part A, Sockets")
def subprotocol_echoed(context: Context) -> None:
    with opened(context) as screen:
        assert_equal("subprotocol", screen.socket.subprotocol, "terminal")


@group.contract("subprotocol-own", "A terminal agrees to no subprotocol but `terminal`.", "platform-behaviour B6")
def subprotocol_own(context: Context) -> None:
    path = f"/sandboxes/{context.sandbox_id}/terminal?rows=24&cols=80"
    with context.client.socket(path, context.ticket(), "mcp") as socket:
        assert_equal("subprotocol", socket.subprotocol, None)


@group.contract("shell", "What is typed is run by a shell.", "wire-contract 4.2")
def shell(context: Context) -> None:
    with opened(context) as screen:
        screen.type("echo ver''ified $((6 * 7))\n")
        screen.until("verified 42")


@group.contract("tty", "It is a real terminal.", "wire-contract 4.2")
def tty(context: Context) -> None:
    with opened(context) as screen:
        screen.type("test -t 0 && test -t 1 && test -t 2 && echo a t''ty\n")
        screen.until("a tty")


@group.contract("echo", "What is typed is shown.", "wire-contract 4.3")
def echo(context: Context) -> None:
    with opened(context) as screen:
        screen.type("true typed-and-shown\n")
        screen.until("typed-and-shown")


@group.contract("size", "It has the size that the query asks for.", "wire-contract 4.1")
def size(context: Context) -> None:
    with opened(context, "?rows=31&cols=97") as screen:
        screen.type("stty size\n")
        screen.until("31 97")


@group.contract("resize", "A resize is seen in it.", "wire-contract 4.2")
def resize(context: Context) -> None:
    with opened(context) as screen:
        screen.type("echo rea''dy\n")
        screen.until("ready")
        screen.socket.send({"type": "resize", "rows": 43, "cols": 131})
        screen.type("stty size\n")
        screen.until("43 131")


@group.contract("output-form", "Output comes as JSON: type output, and data.", "wire-contract 4.2")
def output_form(context: Context) -> None:
    with opened(context) as screen:
        screen.type("echo for''med\n")
        screen.until("formed")
        bad = [message for message in screen.messages if not isinstance(message, dict) or "type" not in message]
        assert_true(not bad, "messages with a type", bad[:1])


@group.contract("unicode", "What is typed and shown is Unicode.", "wire-contract 4.1")
def unicode(context: Context) -> None:
    with opened(context) as screen:
        screen.type("printf '%s\\n' 'gr'ü'ße 漢' | cat\n")
        screen.until("grüße 漢")


@group.contract("frames", "No message is larger than 1 MiB.", "wire-contract 4.1")
def frames(context: Context) -> None:
    with opened(context) as screen:  # a larger one makes our side close with 1009
        screen.type("head -c 3000000 /dev/zero | tr '\\0' x; echo; echo all of''it\n")
        screen.until("all ofit")


@group.contract("exit", "The socket is closed when the shell ends.", "wire-contract 4.3")
def shell_exit(context: Context) -> None:
    with opened(context) as screen:
        screen.type("exit\n")
        while screen.take():
            pass


@group.contract("no-exit-message", "No message tells that the shell ended, or how.", "wire-contract 4.2")
def no_exit_message(context: Context) -> None:
    with opened(context) as screen:
        screen.type("exit 3\n")
        while screen.take():
            pass
        kinds = {message.get("type") for message in screen.messages if isinstance(message, dict)}
        assert_true(kinds <= {"output"}, "output and then the end", sorted(map(str, kinds)))


@group.decision("exit-code-1000", "It is closed with 1000 then.", "Part A, Sockets")
def exit_code_1000(context: Context) -> None:
    with opened(context) as screen:
        screen.type("exit\n")
        while screen.take():
            pass
        assert_equal("close code", screen.socket.close_code, 1000)


@group.contract("ping", "A ping of the protocol is answered by pong.", "wire-contract 4.2")
def ping(context: Context) -> None:
    with opened(context) as screen:
        screen.socket.send({"type": "ping"})
        while {"type": "pong"} not in [{"type": m.get("type")} for m in screen.messages if isinstance(m, dict)]:
            if not screen.take():
                raise Mismatch("a pong", f"closed with {screen.socket.close_code}")


@group.decision("nonsense", "What is no message is passed over.", "Part A, Sockets")
def nonsense(context: Context) -> None:
    with opened(context) as screen:
        for message in ("no JSON", "[]", '{"type": "caged-verify"}', '{"type": "input"}'):
            screen.socket.send(message)
        screen.type("echo still al''ive\n")
        screen.until("still alive")


@group.decision("workspace", "It begins in /workspace.", "Part A, Exec")
def workspace(context: Context) -> None:
    with opened(context) as screen:
        screen.type("echo at:$PWD:\n")
        screen.until("at:/workspace:")
