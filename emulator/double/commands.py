"""Answering commands in their place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Callable, Optional, Union

from ..control.stubs import Output, Question, Said
from .added import Added
from .journal import nearest
from .link import Link, Of
from .patterns import Pattern, add, any_regex, as_text

Text = Union[str, Sequence[str]]


@dataclass(frozen=True)
class StubInfo:
    """`kind`: command or program. `options`: as it was asked for. `used`: so often."""

    id: str
    account: str
    kind: str
    options: dict[str, Any]
    optional: bool
    used: int
    described: str

    def __str__(self) -> str:
        return f"{self.described}: used {self.used} times"


class Stub(Added):
    """One that was added."""

    @property
    def _path(self) -> str:
        return f"/commands/{self.id}"

    @property
    def info(self) -> StubInfo:
        return StubInfo(**self._link.call("GET", self._path, account="*"))

    @property
    def used(self) -> int:
        """How many commands it has answered so far."""
        return self.info.used

    def _complaint(self) -> str:
        info = self.info
        return "" if info.used or info.optional else unused([info], self._ran())

    def _ran(self) -> list[str]:
        return [told["command"] for told in self._link.call("GET", "/journal/commands")]


def unused(stubs: Sequence[StubInfo], ran: Sequence[str] = ()) -> str:
    """What to say of stubs that were asked for and never answered anything. `ran`: the commands that came instead."""
    lines = ["a stub was never used:" if len(stubs) == 1 else "stubs were never used:"]
    lines += [f"  {stub.described}" for stub in stubs]
    if ran:
        wanted = str(stubs[0].options.get("match") or stubs[0].options.get("program") or "")
        lines.append("commands that ran, the nearest first:")
        lines += [f"  {command[:300]}" for command in nearest(wanted, ran)]
    lines.append("remove it, correct what it is to match, or add it with optional=True")
    return "\n".join(lines)


class Commands:
    """Stubs of one account (the one that the test works with, unless `account` names another, or `"*"` for all)."""

    def __init__(self, link: Link) -> None:
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
        sandbox: Optional[Of] = None,
        account: Optional[Of] = None,
    ) -> Stub:
        """From now on, until it is removed, such commands are answered instead of run: of exec, streams, terminals, MCP
        and a create's init_script and packages. The first that fits, in the order they came, is the one; what none
        fits really runs.

        `match`: the whole command, exactly; with * ? [ a pattern; a compiled regular expression, found somewhere in it;
        or a function of the command: None or False (not this one), True, a text, or an Output.
        `output`: a text, or pieces of it, each `delay` seconds after the one before; or a function of the command, as
        above. `error`: it cannot be run at all. `times`: so often; always, when it is left out. `sandbox`: only there.
        `optional`: nobody minds when it is never used.

        ValueError for what makes no sense; EmulatorError for a function when the emulator is in another process.
        """
        pattern = None if callable(match) else match
        body = {
            "kind": "command",
            "match": as_text(pattern, False),
            "regex": any_regex([pattern]),
            **_answer(output, exit_code, delay, error),
            "times": times,
            "optional": optional,
            "sandbox": sandbox,
        }
        asked = _asked(match if callable(match) else None, output if callable(output) else None)
        added = add(self._link, "/commands", body, asked, "a function that answers commands", account)
        return Stub(added["id"], self._link)

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
        sandbox: Optional[Of] = None,
        account: Optional[Of] = None,
    ) -> Stub:
        """The same for a program, wherever in a script or from whatever other program it is called by its name, in all
        sandboxes that there are and will be. A call that fits none runs the real program, with its input.

        `args`: of the arguments, joined by spaces; `stdin`: of the input; both as `match` of `stub`. `output` may be a
        function of the arguments, the directory and the input.
        """
        regex = any_regex([args, stdin])
        body = {
            "kind": "program",
            "program": program,
            "args": as_text(args, regex),
            "stdin": as_text(stdin, regex),
            "regex": regex,
            **_answer(output, exit_code, delay, error),
            "times": times,
            "optional": optional,
            "sandbox": sandbox,
        }
        function: Optional[Callable[[Question], Said]] = None
        if callable(output):
            call = output

            def function(question: Question) -> Said:
                return call(list(question.arguments), question.cwd, question.stdin or "")

        added = add(self._link, "/commands", body, function, "a function that answers programs", account)
        return Stub(added["id"], self._link)

    def unused(self, *, account: Optional[Of] = None) -> list[StubInfo]:
        """Those that have answered nothing and are not optional; `unused` of this module puts them into words."""
        return [stub for stub in self.list(account=account) if not stub.used and not stub.optional]

    def remove(self, stub_id: str) -> None:
        """The next such command really runs. EmulatorError when there is none of that id."""
        self._link.call("DELETE", f"/commands/{stub_id}", account="*")

    def list(self, *, account: Optional[Of] = None) -> list[StubInfo]:
        """In the order in which they are tried."""
        return [StubInfo(**told) for told in self._link.call("GET", "/commands", account=account)]

    def clear(self, *, account: Optional[Of] = None) -> None:
        """All of the account's."""
        self._link.call("DELETE", "/commands", account=account)


def _answer(output: object, exit_code: int, delay: float, error: Optional[str]) -> dict[str, Any]:
    text = "" if callable(output) else output if isinstance(output, str) else list(output)  # type: ignore[call-overload]
    return {"output": text, "exit_code": exit_code, "delay": float(delay), "error": error}


def _asked(
    match: Optional[Callable[[str], Said]], output: Optional[Callable[[str], Said]]
) -> Optional[Callable[[Question], Said]]:
    """One function of both: what `match` says of the command, and where that is only yes, what `output` makes of it."""
    if match is None and output is None:
        return None

    def asked(question: Question) -> Said:
        said: Said = True if match is None else match(question.command)
        return output(question.command) if said is True and output is not None else said

    return asked


__all__ = ["Commands", "Output", "Stub", "StubInfo", "unused"]
