"""Stubs of commands and programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Callable, Optional

from ..control.patterns import nearest_lines
from ..control.stubs import FunctionResult, Invocation, Stub, StubInfo, StubMethods
from .collection import Collection
from .handle import Handle

#: What a stub's output may also be, for error texts.
_ALSO = " or a function"


@dataclass(frozen=True)
class StubHandle(Handle):
    """The handle of a stub that was added: see `Handle` for its use in a `with` statement.

    Attributes:
        account: Id of the account to which it applies, or `*`.
    """

    account: str = field(default="*")

    @property
    def _path(self) -> str:
        return f"/commands/{self.id}"

    @property
    def info(self) -> StubInfo:
        """The stub as the emulator has it now."""
        return StubInfo(**self._admin.call("GET", self._path, account="*"))

    @property
    def used(self) -> int:
        """How often it has answered so far."""
        return self.info.used

    def _complaint(self) -> str:
        info = self.info
        return unused_stubs([info], self._commands()) if info.is_unused else ""

    def _commands(self) -> list[str]:
        """The commands of the account to which it applies; of the selected account for a stub of every account."""
        account = self.account if self.account != "*" else self._admin.account
        if account == "*":
            return []  # they would be those of any account
        return [one["command"] for one in self._admin.call("GET", "/journal/commands", account=account)]


def unused_stubs(stubs: Sequence[StubInfo], commands: Sequence[str] = ()) -> str:
    """The message about stubs that were never used. `commands`: those of the account, for the nearest misses."""
    lines = ["a stub was never used:" if len(stubs) == 1 else "stubs were never used:"]
    lines += [f"  {stub.described}" for stub in stubs]
    if commands:
        lines += ["commands that ran, the nearest first:", *nearest_lines(_wanted(stubs[0]), commands)]
    lines.append("remove it, correct its pattern, or add it with optional=True")
    return "\n".join(lines)


def nearest_to_stub(stub: StubInfo, commands: Sequence[str]) -> list[str]:
    """The commands that came nearest to a stub."""
    return [line.strip() for line in nearest_lines(_wanted(stub), commands)] or ["no command ran"]


def _wanted(stub: StubInfo) -> str:
    match = stub.options.get("match")
    return str(match.get("regex") if isinstance(match, dict) else match or stub.options.get("program") or "")


class Commands(Collection[StubInfo], StubMethods[StubHandle]):
    """Stubs of one account: the selected one, unless `account` names another. `account="*"` applies to every account.

    A command is answered by the first stub that matches it.
    """

    _info = StubInfo

    @property
    def _path(self) -> str:
        return "/commands"

    def _add_stub(self, arguments: dict[str, Any]) -> StubHandle:
        match, output = arguments["match"], arguments["output"]
        if match is None:
            raise TypeError("match: must be a str, a compiled regular expression or a function, not None")
        if callable(match):
            arguments["match"] = None
        if callable(output):
            arguments["output"] = ""
        function = _combined(match if callable(match) else None, output if callable(output) else None)
        return self._added({**arguments, "kind": "command"}, function)

    def _add_program(self, arguments: dict[str, Any]) -> StubHandle:
        output = arguments["output"]
        function: Optional[Callable[[Invocation], FunctionResult]] = None
        if callable(output):
            arguments["output"] = ""

            def function(invocation: Invocation) -> FunctionResult:
                result: FunctionResult = output(list(invocation.arguments), invocation.cwd, invocation.stdin or "")
                return result

        return self._added({**arguments, "kind": "program"}, function)

    def _added(
        self, arguments: dict[str, Any], function: Optional[Callable[[Invocation], FunctionResult]]
    ) -> StubHandle:
        added = self._add(Stub, arguments, arguments["account"], function, _ALSO)
        return StubHandle(added["id"], self._admin, added["account"])


def _combined(
    match: Optional[Callable[[str], FunctionResult]], output: Optional[Callable[[str], FunctionResult]]
) -> Optional[Callable[[Invocation], FunctionResult]]:
    """One function of both: the result of `match`, and where that is True, the result of `output`."""
    if match is None and output is None:
        return None

    def combined(invocation: Invocation) -> FunctionResult:
        result: FunctionResult = True if match is None else match(invocation.command)
        return output(invocation.command) if result is True and output is not None else result

    return combined
