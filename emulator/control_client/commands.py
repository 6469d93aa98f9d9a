"""Stubs of commands and programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Callable, Optional, Union

from ..control.stubs import Output, Question, Said
from .admin_client import AdminClient
from .checking import amount, check_int, check_str, check_text
from .handle import Handle
from .journal import nearest
from .patterns import Pattern, add, as_json
from .transport import IdOrObject

Text = Union[str, Sequence[str]]


@dataclass(frozen=True)
class StubInfo:
    """A stub as the emulator has it.

    Attributes:
        account: Id of the account to which it applies, or `*`.
        kind: `command` or `program`.
        options: Its options that are not the defaults.
        used: How often it has answered.
        described: The stub in one line.
    """

    id: str
    account: str
    kind: str
    options: dict[str, Any]
    optional: bool
    used: int
    described: str

    def __str__(self) -> str:
        return f"{self.described}: used {self.used} times"


@dataclass(frozen=True)
class Stub(Handle):
    """The handle of a stub that was added: see `Added` for its use in a `with` statement.

    Attributes:
        account: Id of the account to which it applies, or `*`.
    """

    account: str = field(default="*")

    @property
    def _path(self) -> str:
        return f"/commands/{self.id}"

    @property
    def info(self) -> StubInfo:
        return StubInfo(**self._link.call("GET", self._path, account="*"))

    @property
    def used(self) -> int:
        """How often it has answered so far."""
        return self.info.used

    def _complaint(self) -> str:
        info = self.info
        return "" if info.used or info.optional else unused([info], self._ran())

    def _ran(self) -> list[str]:
        """The commands of the account to which it applies; of the selected account for a stub of every account."""
        account = self.account if self.account != "*" else self._link.account
        if account == "*":
            return []  # they would be those of any account
        return [ran["command"] for ran in self._link.call("GET", "/journal/commands", account=account)]


def unused(stubs: Sequence[StubInfo], ran: Sequence[str] = ()) -> str:
    """The message about stubs that were never used. `ran`: the commands of the account, for the nearest misses."""
    lines = ["a stub was never used:" if len(stubs) == 1 else "stubs were never used:"]
    lines += [f"  {stub.described}" for stub in stubs]
    if ran:
        match = stubs[0].options.get("match")
        wanted = str(match.get("regex") if isinstance(match, dict) else match or stubs[0].options.get("program") or "")
        lines.append("commands that ran, the nearest first:")
        lines += [f"  {command[:300]}" for command in nearest(wanted, ran)]
    lines.append("remove it, correct its pattern, or add it with optional=True")
    return "\n".join(lines)


class Commands:
    """Stubs of one account: the selected one, unless `account` names another. `account="*"` applies to every account.

    A command is answered by the first stub that matches it: first those of its own account, then those of every
    account, each in the order in which they were added. `list` shows what applies, in that order. `clear` removes what
    was added for exactly that account.
    """

    def __init__(self, link: AdminClient) -> None:
        self._link = link

    def stub(
        self,
        match: Union[Pattern, Callable[[str], Said]],
        output: Union[Text, Callable[[str], Said]] = "",
        exit_code: int = 0,
        delay: float = 0.0,
        *,
        times: Optional[int] = None,
        optional: bool = False,
        error: Optional[str] = None,
        sandbox: Optional[IdOrObject] = None,
        allow_errors: bool = False,
        account: Optional[IdOrObject] = None,
    ) -> Stub:
        """Answer matching commands instead of running them: of exec, streams, terminals, MCP, and of a create's
        init_script and packages. A command that no stub matches really runs.

        Args:
            match: The whole command: exact, or a glob with `*`, `?` and `[`; a compiled regular expression, searched
                for in it; or a function of the command that returns None or False (does not match), True, a text or an
                Output.
            output: A text, or pieces of it, each `delay` seconds after the one before; or a function of the command, as
                above.
            exit_code: From 0 to 255.
            delay: Seconds before the text, or before each piece.
            times: How often it answers; always by default.
            optional: Do not report it when it is never used.
            error: The command cannot be run at all: exec, MCP and shells report this text, word for word.
            sandbox: Applies in this sandbox only.
            allow_errors: An exception of the function does not fail the test.

        Raises:
            ValueError, TypeError: An argument is wrong.
            EmulatorError: A function is given and the emulator is in another process.
        """
        pattern = None if callable(match) else match
        if pattern is None and not callable(match):
            raise TypeError("match: must be a str, a compiled regular expression or a function, not None")
        body = {
            "kind": "command",
            "match": as_json("match", pattern),
            **_answer(output, exit_code, delay, error),
            **_common(times, optional, sandbox, allow_errors),
        }
        function = _combined(match if callable(match) else None, output if callable(output) else None)
        added = add(self._link, "/commands", body, function, "a function that answers commands", account)
        return Stub(added["id"], self._link, added["account"])

    def program(
        self,
        program: str,
        output: Union[Text, Callable[[list[str], str, str], Said]] = "",
        exit_code: int = 0,
        delay: float = 0.0,
        *,
        args: Optional[Pattern] = None,
        stdin: Optional[Pattern] = None,
        times: Optional[int] = None,
        optional: bool = False,
        error: Optional[str] = None,
        sandbox: Optional[IdOrObject] = None,
        allow_errors: bool = False,
        account: Optional[IdOrObject] = None,
    ) -> Stub:
        """Answer a program wherever it is called by its name, also in scripts and by other programs, in all sandboxes,
        existing and new ones. A call that no stub matches runs the real program, with its input.

        Args:
            program: Its name, without a directory.
            output: As of `stub`; or a function of the arguments, the working directory and the input.
            args: Pattern of the arguments, joined by spaces; as `match` of `stub`, without functions.
            stdin: Pattern of the input. Each pattern is of its own kind.

        The other arguments and the exceptions are those of `stub`.
        """
        check_str("program", program)
        body = {
            "kind": "program",
            "program": program,
            "args": as_json("args", args),
            "stdin": as_json("stdin", stdin),
            **_answer(output, exit_code, delay, error),
            **_common(times, optional, sandbox, allow_errors),
        }
        function: Optional[Callable[[Question], Said]] = None
        if callable(output):
            call = output

            def function(question: Question) -> Said:
                return call(list(question.arguments), question.cwd, question.stdin or "")

        added = add(self._link, "/commands", body, function, "a function that answers programs", account)
        return Stub(added["id"], self._link, added["account"])

    def unused(self, *, account: Optional[IdOrObject] = None) -> list[StubInfo]:
        """Those of `list` that have answered nothing and are not optional."""
        return [stub for stub in self.list(account=account) if not stub.used and not stub.optional]

    def remove(self, stub_id: str) -> None:
        """Remove a stub.

        Raises:
            EmulatorError: There is none with this id.
        """
        self._link.call("DELETE", f"/commands/{stub_id}", account="*")

    def list(self, *, account: Optional[IdOrObject] = None) -> list[StubInfo]:
        """All that apply to the account, in the order in which they are tried: its own, then those of every account."""
        return [StubInfo(**told) for told in self._link.call("GET", "/commands", account=account)]

    def clear(self, *, account: Optional[IdOrObject] = None) -> None:
        """Remove all that were added for exactly this account, or for `*`."""
        self._link.call("DELETE", "/commands", account=account)


def _answer(output: object, exit_code: int, delay: float, error: Optional[str]) -> dict[str, Any]:
    text: Any = "" if callable(output) else output
    check_text("output", text, " or a function")
    check_int("exit_code", exit_code)
    if error is not None:
        check_str("error", error)
    return {
        "output": text if isinstance(text, str) else list(text),
        "exit_code": exit_code,
        "delay": amount("delay", delay),
        "error": error,
    }


def _common(times: Optional[int], optional: bool, sandbox: Optional[IdOrObject], allow_errors: bool) -> dict[str, Any]:
    if times is not None:
        check_int("times", times, 1)
    return {"times": times, "optional": optional, "sandbox": sandbox, "allow_errors": allow_errors or None}


def _combined(
    match: Optional[Callable[[str], Said]], output: Optional[Callable[[str], Said]]
) -> Optional[Callable[[Question], Said]]:
    """One function of both: the result of `match`, and where that is True, the result of `output`."""
    if match is None and output is None:
        return None

    def combined(question: Question) -> Said:
        said: Said = True if match is None else match(question.command)
        return output(question.command) if said is True and output is not None else said

    return combined


__all__ = ["Commands", "Output", "Stub", "StubInfo", "unused"]
