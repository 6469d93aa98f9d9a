"""Interactive terminals."""

from __future__ import annotations

from ..assertions import assert_equal, assert_true
from ..check import Group
from ..context import Context
from ..errors import Mismatch
from ..terminal_screen import open_terminal, terminal_path

group = Group("terminal")


@group.contract("subprotocol", "The requested subprotocol is echoed, or none.", "wire-contract 4.1")
def subprotocol(context: Context) -> None:
    with open_terminal(context) as screen:
        assert_true(screen.socket.subprotocol in (None, "terminal"), "terminal", repr(screen.socket.subprotocol))


@group.decision("subprotocol-echoed", "The requested subprotocol is echoed.", "Part A, Sockets")
def subprotocol_echoed(context: Context) -> None:
    with open_terminal(context) as screen:
        assert_equal("subprotocol", screen.socket.subprotocol, "terminal")


@group.contract("subprotocol-own", "A terminal accepts no other subprotocol than `terminal`.", "platform-behaviour B6")
def subprotocol_own(context: Context) -> None:
    with context.client.socket(terminal_path(context), context.ticket(), "mcp") as socket:
        assert_equal("subprotocol", socket.subprotocol, None)


@group.contract("shell", "Input is run by a shell.", "wire-contract 4.2")
def shell(context: Context) -> None:
    with open_terminal(context) as screen:
        screen.type("echo ver''ified $((6 * 7))\n")
        screen.wait_for("verified 42")


@group.contract("tty", "stdin, stdout and stderr are a terminal.", "wire-contract 4.2")
def tty(context: Context) -> None:
    with open_terminal(context) as screen:
        screen.type("test -t 0 && test -t 1 && test -t 2 && echo a t''ty\n")
        screen.wait_for("a tty")


@group.contract("echo", "Input is echoed.", "wire-contract 4.3")
def echo(context: Context) -> None:
    with open_terminal(context) as screen:
        screen.type("true typed-and-shown\n")
        screen.wait_for("typed-and-shown")


@group.contract("size", "A terminal has the size given in the query.", "wire-contract 4.1")
def size(context: Context) -> None:
    with open_terminal(context, "?rows=31&cols=97") as screen:
        screen.type("stty size\n")
        screen.wait_for("31 97")


@group.contract("resize", "A resize message changes the size.", "wire-contract 4.2")
def resize(context: Context) -> None:
    with open_terminal(context) as screen:
        screen.type("echo rea''dy\n")
        screen.wait_for("ready")
        screen.socket.send({"type": "resize", "rows": 43, "cols": 131})
        screen.type("stty size\n")
        screen.wait_for("43 131")


@group.contract("output-form", "Output messages are JSON objects with type `output` and data.", "wire-contract 4.2")
def output_form(context: Context) -> None:
    with open_terminal(context) as screen:
        screen.type("echo for''med\n")
        screen.wait_for("formed")
        bad = [message for message in screen.messages if not isinstance(message, dict) or "type" not in message]
        assert_true(not bad, "messages with a type", bad[:1])


@group.contract("unicode", "Input and output are Unicode.", "wire-contract 4.1")
def unicode(context: Context) -> None:
    with open_terminal(context) as screen:
        screen.type("printf '%s\\n' 'gr'ü'ße 漢' | cat\n")
        screen.wait_for("grüße 漢")


@group.contract("frames", "No message is larger than 1 MiB.", "wire-contract 4.1")
def frames(context: Context) -> None:
    with open_terminal(context) as screen:  # a larger one makes our side close with 1009
        screen.type("head -c 3000000 /dev/zero | tr '\\0' x; echo; echo all of''it\n")
        screen.wait_for("all ofit")


@group.contract("exit", "The socket is closed when the shell exits.", "wire-contract 4.3")
def shell_exit(context: Context) -> None:
    with open_terminal(context) as screen:
        screen.type("exit\n")
        screen.wait_for_close()


@group.contract("no-exit-message", "No message reports the exit of the shell or its exit code.", "wire-contract 4.2")
def no_exit_message(context: Context) -> None:
    with open_terminal(context) as screen:
        screen.type("exit 3\n")
        screen.wait_for_close()
        kinds = {message.get("type") for message in screen.messages if isinstance(message, dict)}
        assert_true(kinds <= {"output"}, "output and then the end", sorted(map(str, kinds)))


@group.decision("exit-code-1000", "The socket is closed with code 1000 when the shell exits.", "Part A, Sockets")
def exit_code_1000(context: Context) -> None:
    with open_terminal(context) as screen:
        screen.type("exit\n")
        screen.wait_for_close()
        assert_equal("close code", screen.socket.close_code, 1000)


@group.contract("ping", "A ping message is answered with a pong message.", "wire-contract 4.2")
def ping(context: Context) -> None:
    with open_terminal(context) as screen:
        screen.socket.send({"type": "ping"})
        while {"type": "pong"} not in [{"type": m.get("type")} for m in screen.messages if isinstance(m, dict)]:
            if not screen.receive():
                raise Mismatch("a pong", f"closed with {screen.socket.close_code}")


@group.decision("nonsense", "An invalid message is ignored.", "Part A, Sockets")
def nonsense(context: Context) -> None:
    with open_terminal(context) as screen:
        for message in ("no JSON", "[]", '{"type": "caged-verify"}', '{"type": "input"}'):
            screen.socket.send(message)
        screen.type("echo still al''ive\n")
        screen.wait_for("still alive")


@group.decision("workspace", "The working directory of the shell is /workspace.", "Part A, Exec")
def workspace(context: Context) -> None:
    with open_terminal(context) as screen:
        screen.type("echo at:$PWD:\n")
        screen.wait_for("at:/workspace:")
