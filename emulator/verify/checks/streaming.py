"""Streaming exec: a terminal without a size, and a command between two markers (wire-contract 4.3).

The markers are written and read here independently of the SDK and of the emulator: these checks judge a platform's
bytes, and must not have the mistakes of what they judge.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Optional

from ..assertions import assert_equal, assert_true, shorten
from ..check import Group
from ..context import Context
from ..errors import Mismatch
from ..terminal_screen import TerminalScreen, open_terminal

group = Group("streaming")

_EXIT_CODE_CHARACTERS = 64


class Stream:
    """A command as the platform's clients send it to a terminal.

    Attributes:
        screen: The terminal.
        begin: The marker before the output.
        end: The marker after the output, before the exit code.
    """

    def __init__(self, screen: TerminalScreen, command: str) -> None:
        number = secrets.token_hex(8)
        self.screen = screen
        self.begin, self.end = f"__CAGED_BEGIN_{number}__", f"__CAGED_EXIT_{number}__"
        screen.type(f"stty -echo 2>/dev/null; printf '%s\\n' '{self.begin}'\n")
        screen.type(command if command.endswith("\n") else f"{command}\n")
        screen.type(f"__caged_rc=$?; printf '%s%s\\n' '{self.end}' \"$__caged_rc\"; exit \"$__caged_rc\"\n")

    def finish(self) -> tuple[str, Optional[int]]:
        """Return the output between the first occurrence of each marker, and the exit code, as the clients do."""
        while self.end not in self.screen.text and self.screen.receive():
            pass
        before, found, after = self.screen.text.partition(self.end)
        _, begun, output = before.partition(self.begin)
        if not begun or not found:
            raise Mismatch("both markers", shorten(repr(self.screen.text[-200:])))
        digits = after.strip()[:_EXIT_CODE_CHARACTERS].split()
        code = int(digits[0]) if digits and digits[0].isdigit() else None
        return output.lstrip("\r\n").replace("\r\n", "\n"), code


@contextmanager
def _streaming(context: Context, command: str) -> Iterator[Stream]:
    with open_terminal(context, "") as screen:
        yield Stream(screen, command)


def _streamed(context: Context, command: str) -> tuple[str, Optional[int]]:
    with _streaming(context, command) as stream:
        return stream.finish()


@group.contract("output", "The output is between the markers, without echo and prompt.", "wire-contract 4.3")
def output(context: Context) -> None:
    assert_equal("output", _streamed(context, "echo hello")[0], "hello\n")


@group.contract("exit-code", "The exit code follows the END marker.", "wire-contract 4.3")
def exit_code(context: Context) -> None:
    assert_equal("exit code", _streamed(context, "(exit 127)")[1], 127)


@group.contract("exit-0", "The exit code of a success is 0.", "wire-contract 4.3")
def exit_0(context: Context) -> None:
    assert_equal("exit code", _streamed(context, "true")[1], 0)


@group.contract("quiet", "The input lines are not echoed, so each marker occurs once.", "wire-contract 4.3")
def quiet(context: Context) -> None:
    with _streaming(context, "echo hello") as stream:
        stream.finish()
        counts = [stream.screen.text.count(marker) for marker in (stream.begin, stream.end)]
        assert_equal("how often BEGIN and END come", counts, [1, 1])


@group.contract("one-frame", "The END marker and the exit code are in one message.", "wire-contract 4.3")
def one_frame(context: Context) -> None:
    with _streaming(context, "(exit 123)") as stream:
        stream.finish()
        last = [m.get("data", "") for m in stream.screen.messages if isinstance(m, dict) and m.get("data")]
        assert_true(any(f"{stream.end}123" in data for data in last), "a message with END and 123", last[-1:])


@group.contract("lines", "A command of several lines with a here document is accepted.", "wire-contract 4.3")
def lines(context: Context) -> None:
    command = "for i in 1 2 3; do\n  echo $i\ndone\ncat <<'X'\nhere\nX\n"
    assert_equal("output", _streamed(context, command)[0], "1\n2\n3\nhere\n")


@group.contract("while-it-runs", "Output is sent while the command runs.", "wire-contract 4.3")
def while_it_runs(context: Context) -> None:
    name = context.unique_name()
    with _streaming(context, f"echo first; until [ -e {name} ]; do sleep 0.05; done; echo last") as stream:
        stream.screen.wait_for("first")
        assert_true("last" not in stream.screen.text, "the first line alone", stream.screen.text)
        context.run_command(f"touch {name}")
        assert_equal("output", stream.finish()[0], "first\nlast\n")


@group.contract("shell-dies", "A command that exits its shell closes the socket.", "wire-contract 4.3")
def shell_dies(context: Context) -> None:
    with _streaming(context, "exit 3") as stream:
        stream.screen.wait_for_close()
        assert_true(stream.end not in stream.screen.text, "no END marker", "one")


@group.contract("client-goes", "Closing the socket ends the command.", "wire-contract 4.3")
def client_goes(context: Context) -> None:
    name = context.unique_name()
    with _streaming(context, f"echo $$ > {name}; echo begun; sleep 300") as stream:
        stream.screen.wait_for("begun")
    alive = f"kill -0 $(cat {name}) 2>/dev/null && echo alive || echo gone"
    seconds = min(10.0, context.time_budget.limit)
    context.wait_until(lambda: True if context.run_command(alive) == "gone\n" else None, "the shell gone", seconds)
