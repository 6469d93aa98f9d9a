"""Stubs: outputs in place of whole commands, and of programs wherever they are called.

An option of a stub is one field of `Stub` or `Output`, and one parameter of the methods in `StubMethods` that take it.
`platform/command_stubs.py` decides which stub answers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Any, Callable, Generic, Literal, Optional, TypeVar, Union

from .current_account import ALL_ACCOUNTS
from .description import check_values, named, nested, option
from .identifiers import IdOrObject
from .patterns import Pattern, TextPattern, matches
from .records import value
from .registry import Control, CountedInfo
from .values import Text

#: What a stub answers: a whole command, or a program wherever it is called.
StubKind = Literal["command", "program"]
_PROGRAM = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9._+@-]{1,200}")
H = TypeVar("H")


@dataclass(frozen=True)
class Output:
    """The output of a stub.

    Attributes:
        output: A text, or pieces of it.
        exit_code: From 0 to 255.
        delay: Seconds before the text, or before each piece.
        error: The command cannot be run at all: exec answers with this error; a shell prints it and exits with 126.
    """

    output: Text = option("", "What it prints: a text, or pieces, each printed `delay` seconds after the one before.")
    exit_code: int = option(0, "Its exit code.", at_least=0, at_most=255)
    delay: float = option(0.0, "Time before the text, or before each piece.", unit="seconds", at_least=0)
    error: Optional[str] = option(
        None, "The command cannot be run at all: exec, MCP and shells report this text, word for word."
    )

    def check(self) -> None:
        """Check values and types; a function of a test may return anything.

        Raises:
            ValueError, TypeError: An attribute is wrong; the text starts with its name.
        """
        check_values(self)
        if self.error is not None and (self.text or self.exit_code):
            given = "output" if self.text else "exit_code"
            raise ValueError(f"{given}: cannot be combined with error, which is the whole answer")

    @property
    def pieces(self) -> list[str]:
        """The pieces of the text, one for a text that is not in pieces."""
        return [self.output] if isinstance(self.output, str) else list(self.output)

    @property
    def text(self) -> str:
        """The whole text."""
        return "".join(self.pieces)

    @property
    def seconds(self) -> float:
        """Seconds until all of it is printed."""
        return self.delay * max(1, len(self.pieces))


@dataclass(frozen=True)
class Invocation:
    """What was called: a `command`, or a `program` with its `arguments` in `cwd`. `stdin` None: it was not read."""

    sandbox: str
    command: str = ""
    program: str = ""
    arguments: tuple[str, ...] = ()
    cwd: str = ""
    stdin: Optional[str] = None


#: Of a function that answers: None or False (does not match), True (the stub's own output), a text, or an Output.
FunctionResult = Union[None, bool, str, Output]


@dataclass(frozen=True)
class StubInfo(CountedInfo):
    """A stub as the emulator has it."""

    kind: str = value("`command` or `program`.", column=True)
    used: int = value("How often it has answered.", column=True)


@dataclass
class Stub(Control):
    """One stub: its options, and how often it has answered.

    Attributes:
        output: The output, with its exit code and delay.
        function: Decides and answers instead of `output`.
        used: How often it has answered.
    """

    NOUN = "stub"

    kind: Optional[StubKind] = option(
        None, "`command`, or `program` (the default where a `program` is given).", methods=("http",)
    )
    match: Optional[TextPattern] = option(
        None,
        "The whole command: exact, or a glob with `*`, `?` and `[`; a regular expression, searched for in it; or a"
        " function of the command that returns None or False (does not match), True, a text or an Output.",
        methods=("stub",),
        is_required=True,
    )
    program: Optional[str] = option(
        None, "The program's name, without a directory.", methods=("program",), is_required=True
    )
    output: Output = nested(Output)
    args: Optional[TextPattern] = option(
        None, "Pattern of the arguments, joined by spaces; as `match`, without functions.", methods=("program",)
    )
    stdin: Optional[TextPattern] = option(
        None, "Pattern of the input. Each pattern is of its own kind.", methods=("program",)
    )
    sandbox: Optional[str] = option(None, "Applies in this sandbox only.")
    times: Optional[int] = option(None, "How often it answers; always by default.", at_least=1)
    optional: bool = option(False, "Do not report it when it is never used.")
    allow_errors: bool = option(False, "An exception of the function does not fail the test.", is_local=True)
    function: Optional[Callable[[Invocation], FunctionResult]] = field(default=None, repr=False)
    used: int = 0

    def __post_init__(self) -> None:
        self.kind = self.kind or ("program" if self.program is not None else "command")

    def check(self) -> None:
        if self.kind == "command":
            if self.match is None and self.function is None:
                raise ValueError("match: is missing; give the command, a pattern or a function")
            if self.program is not None or self.args is not None or self.stdin is not None:
                raise ValueError("program, args and stdin: are options of programs; use kind 'program'")
        elif self.program is None or _PROGRAM.fullmatch(self.program) is None:
            raise ValueError(f"program: {self.program!r} is not the name of a program; give it without a directory")
        elif self.match is not None:
            raise ValueError("match: is an option of commands; for a program use args")
        super().check()
        if self.allow_errors and self.function is None:
            raise ValueError("allow_errors: applies to functions only; this stub has none")
        self.output.check()

    @property
    def is_exhausted(self) -> bool:
        """Whether it has answered as often as it may."""
        return self.times is not None and self.used >= self.times

    @property
    def reads_stdin(self) -> bool:
        """Whether its decision depends on the program's input."""
        return self.stdin is not None or (self.kind == "program" and self.function is not None)

    def applies_in(self, account: str, sandbox: str) -> bool:
        """Whether it applies in a sandbox of an account."""
        return self.account in (account, ALL_ACCOUNTS) and self.sandbox in (None, sandbox)

    def matches(self, invocation: Invocation) -> bool:
        """Whether the patterns match; the function is not called. Input that was not read matches."""
        if self.kind == "command":
            return matches(self.match, invocation.command)
        return (
            self.program == invocation.program
            and matches(self.args, " ".join(invocation.arguments))
            and (invocation.stdin is None or matches(self.stdin, invocation.stdin))
        )

    def outcome(self, result: FunctionResult) -> Optional[Output]:
        """The output that a result of the function means; None when the stub does not apply to the command.

        Raises:
            ValueError, TypeError: The function returned something else.
        """
        if result is None or result is False:
            return None
        if result is True:
            return self.output
        if isinstance(result, str):
            return replace(self.output, output=result)
        if isinstance(result, Output):
            result.check()
            return result
        raise TypeError(f"the function returned {result!r}, not a bool, a str, an Output or None")

    def info(self) -> StubInfo:
        return StubInfo(**self._info_fields(), kind=self.kind or "command", used=self.used)

    def __str__(self) -> str:
        pattern = "a function" if self.match is None else repr(self.match)
        first = repr(self.program) if self.kind == "program" else pattern
        return self._described(first, omit=["match", "program", "output", "exit_code", "delay", "error"])


class StubMethods(Generic[H]):
    """The methods that add stubs, as callers see them. H: the class of the handles that they return."""

    @named("commands.stub")
    def stub(
        self,
        match: Union[Pattern, Callable[[str], FunctionResult]],
        output: Union[Text, Callable[[str], FunctionResult]] = "",
        exit_code: int = 0,
        delay: float = 0.0,
        *,
        error: Optional[str] = None,
        sandbox: Optional[IdOrObject] = None,
        times: Optional[int] = None,
        optional: bool = False,
        allow_errors: bool = False,
        account: Optional[IdOrObject] = None,
    ) -> H:
        """Answer matching commands instead of running them: of exec, streams, terminals, MCP, and of a create's
        init_script and packages. A command that no stub matches really runs. The `cwd` and `user` of a bound sandbox's
        `run` are not checked where a stub answers.

        Args:
            match: The whole command: exact, or a glob with `*`, `?` and `[`; a regular expression, searched for in it;
                or a function of the command that returns None or False (does not match), True, a text or an Output.
            output: What it prints: a text, or pieces, each printed `delay` seconds after the one before. Or a function
                of the command, as above.
            exit_code: Its exit code. From 0 to 255.
            delay: Time before the text, or before each piece. In seconds.
            error: The command cannot be run at all: exec, MCP and shells report this text, word for word.
            sandbox: Applies in this sandbox only.
            times: How often it answers; always by default.
            optional: Do not report it when it is never used.
            allow_errors: An exception of the function does not fail the test.
            account: An account or its id; `"*"`: all accounts. The default is the selected account.

        Returns:
            The handle of the stub.

        Raises:
            ValueError, TypeError: An argument is wrong.
            EmulatorError: A function is given and the emulator is in another process.
        """
        return self._add_stub(dict(locals()))

    @named("commands.program")
    def program(
        self,
        program: str,
        output: Union[Text, Callable[[list[str], str, str], FunctionResult]] = "",
        exit_code: int = 0,
        delay: float = 0.0,
        *,
        error: Optional[str] = None,
        args: Optional[Pattern] = None,
        stdin: Optional[Pattern] = None,
        sandbox: Optional[IdOrObject] = None,
        times: Optional[int] = None,
        optional: bool = False,
        allow_errors: bool = False,
        account: Optional[IdOrObject] = None,
    ) -> H:
        """Answer a program wherever it is called by its name, also in scripts and by other programs, in all sandboxes,
        existing and new ones. A call that no stub matches runs the real program, with its input.

        Args:
            program: The program's name, without a directory.
            output: What it prints: a text, or pieces, each printed `delay` seconds after the one before. Or a function
                of the arguments, the working directory and the input.
            exit_code: Its exit code. From 0 to 255.
            delay: Time before the text, or before each piece. In seconds.
            error: The command cannot be run at all: exec, MCP and shells report this text, word for word.
            args: Pattern of the arguments, joined by spaces; as `match`, without functions.
            stdin: Pattern of the input. Each pattern is of its own kind.
            sandbox: Applies in this sandbox only.
            times: How often it answers; always by default.
            optional: Do not report it when it is never used.
            allow_errors: An exception of the function does not fail the test.
            account: An account or its id; `"*"`: all accounts. The default is the selected account.

        Returns:
            The handle of the stub.

        Raises:
            ValueError, TypeError: An argument is wrong.
            EmulatorError: A function is given and the emulator is in another process.
        """
        return self._add_program(dict(locals()))

    def _add_stub(self, arguments: dict[str, Any]) -> H:
        """Add a stub of commands. `arguments`: the local names of `stub`, `self` and `account` among them."""
        raise NotImplementedError

    def _add_program(self, arguments: dict[str, Any]) -> H:
        """Add a stub of a program. `arguments`: the local names of `program`, `self` and `account` among them."""
        raise NotImplementedError
