"""What a test has answered in place of a command: whole commands, and programs wherever they are called."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Callable, Optional, Union

from .chance import Chance
from .scope import EVERYBODY

KINDS = ("command", "program")
_PROGRAM = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9._+@-]{1,200}")
#: Answers that a shell was told to fetch and has not fetched; the oldest are given up.
_MOST_PENDING = 1000


@dataclass(frozen=True)
class Output:
    """What stands in place of a command's work. `output`: a text, or pieces of it. `delay`: seconds before the text, or
    before each piece. `error`: it could not be run at all: exec answers with `error`, a shell says so and has 126."""

    output: Union[str, Sequence[str]] = ""
    exit_code: int = 0
    delay: float = 0.0
    error: Optional[str] = None

    @property
    def pieces(self) -> list[str]:
        return [self.output] if isinstance(self.output, str) else list(self.output)

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    @property
    def seconds(self) -> float:
        """Until all of it is there."""
        return self.delay * max(1, len(self.pieces))


@dataclass(frozen=True)
class Question:
    """What was called: a `command`, or a `program` with its `arguments` in `cwd`. `stdin` None: it was not read."""

    sandbox: str
    command: str = ""
    program: str = ""
    arguments: tuple[str, ...] = ()
    cwd: str = ""
    stdin: Optional[str] = None


#: Of a function that answers: None or False (not this one), True (as the stub says), a text, or all of it.
Said = Union[None, bool, str, Output]


@dataclass
class Stub:
    """Which: `match` is the whole command, or `args` the arguments of `program`, joined by spaces, with `stdin` its
    input: exact, or a pattern with * ? [, or, with `regex`, a regular expression found somewhere in it. `function` says
    the rest. All that are given have to fit. `sandbox`: an id. `times`: so often, None always.

    `optional`: nobody minds when it is never used.
    """

    id: str
    account: str
    kind: str = "command"
    match: Optional[str] = None
    program: Optional[str] = None
    args: Optional[str] = None
    stdin: Optional[str] = None
    regex: bool = False
    sandbox: Optional[str] = None
    output: Output = field(default_factory=Output)
    times: Optional[int] = None
    optional: bool = False
    function: Optional[Callable[[Question], Said]] = field(default=None, repr=False)
    used: int = 0

    def check(self) -> None:
        """ValueError, naming the option, for what makes no sense."""
        if self.kind not in KINDS:
            raise ValueError(f"kind: {self.kind!r} is unknown; use one of {', '.join(KINDS)}")
        if self.kind == "command":
            if self.match is None and self.function is None:
                raise ValueError("match: say which command is meant")
            if self.program is not None or self.args is not None or self.stdin is not None:
                raise ValueError("program, args and stdin: are of programs; use kind 'program'")
        elif self.program is None or _PROGRAM.fullmatch(self.program) is None:
            raise ValueError(f"program: {self.program!r} is no name of a program; give it without a directory")
        elif self.match is not None:
            raise ValueError("match: is of commands; a program has args")
        if self.times is not None and self.times < 1:
            raise ValueError("times: must be at least 1")
        if self.output.delay < 0:
            raise ValueError("delay: must not be negative")
        if not 0 <= self.output.exit_code <= 255:
            raise ValueError("exit_code: must be from 0 to 255")
        for pattern in (self.match, self.args, self.stdin) if self.regex else ():
            check_regex(pattern)

    @property
    def exhausted(self) -> bool:
        return self.times is not None and self.used >= self.times

    @property
    def reads_stdin(self) -> bool:
        return self.stdin is not None or (self.kind == "program" and self.function is not None)

    def of(self, account: str, sandbox: str) -> bool:
        return self.account in (account, EVERYBODY) and self.sandbox in (None, sandbox)

    def fits(self, question: Question) -> bool:
        """As far as texts tell: a function was not asked. Input that was not read fits."""
        if self.kind == "command":
            return fits(self.match, question.command, self.regex)
        return (
            self.program == question.program
            and fits(self.args, " ".join(question.arguments), self.regex)
            and (question.stdin is None or fits(self.stdin, question.stdin, self.regex))
        )

    def outcome(self, said: Said) -> Optional[Output]:
        """What the function's result means; None when the command is not this stub's. TypeError for what it cannot
        mean."""
        if said is None or said is False:
            return None
        if said is True:
            return self.output
        if isinstance(said, str):
            return replace(self.output, output=said)
        if isinstance(said, Output):
            return said
        raise TypeError(f"it returned {type(said).__name__}, not a bool, a str, an Output or None")

    def __str__(self) -> str:
        """As it would be asked for: 'npm *', times=2."""
        pattern = self.match if self.kind == "command" else self.program
        kind = "regex " if self.regex and self.match is not None else ""
        shown = ["a function" if pattern is None else f"{kind}{pattern!r}"]
        given = {"args": self.args, "stdin": self.stdin, "sandbox": self.sandbox, "times": self.times}
        shown += [f"{name}={value!r}" for name, value in given.items() if value is not None]
        return f"stub {self.id} ({', '.join(shown)})"


def fits(pattern: Optional[str], text: str, regex: bool = False) -> bool:
    """None fits everything. Space around a command means nothing."""
    if pattern is None:
        return True
    if regex:
        return re.search(pattern, text) is not None
    return text.strip() == pattern.strip() or fnmatchcase(text.strip(), pattern.strip())


def check_regex(pattern: Optional[str]) -> None:
    try:
        re.compile(pattern or "")
    except re.error as error:
        raise ValueError(f"{pattern!r} is no regular expression: {error}") from None


class Stubs:
    def __init__(self, chance: Chance) -> None:
        self._chance = chance
        self._stubs: dict[str, Stub] = {}
        self._pending: OrderedDict[str, tuple[str, Output]] = OrderedDict()

    def add(self, account: str, **options: object) -> Stub:
        """ValueError for options that make no sense."""
        stub = Stub(id=self._chance.identifier("stub", self._stubs), account=account, **options)  # type: ignore[arg-type]
        stub.check()
        self._stubs[stub.id] = stub
        return stub

    def __bool__(self) -> bool:
        return bool(self._stubs)

    def of(self, account: str) -> list[Stub]:
        """In the order in which they are tried."""
        return [stub for stub in self._stubs.values() if account in (stub.account, EVERYBODY)]

    def get(self, stub_id: str) -> Optional[Stub]:
        return self._stubs.get(stub_id)

    def remove(self, stub: Stub) -> None:
        self._stubs.pop(stub.id, None)

    def usable(self, account: str, sandbox: str, kind: str = "command") -> list[Stub]:
        """Those that may answer there, in the order in which they are tried."""
        return [stub for stub in self._stubs.values() if stub.kind == kind and stub.of(account, sandbox)]

    def programs(self, account: str, sandbox: str) -> Iterable[str]:
        """Names of the programs that are stood in for, each once."""
        return dict.fromkeys(stub.program or "" for stub in self.usable(account, sandbox, "program"))

    # --- answers that a shell fetches by their token

    def leave(self, token: str, sandbox: str, output: Output) -> None:
        self._pending[token] = (sandbox, output)
        while len(self._pending) > _MOST_PENDING:
            self._pending.popitem(last=False)

    def fetch(self, token: str, sandbox: str) -> Optional[Output]:
        """Once, and there only where it was left for."""
        if self._pending.get(token, ("",))[0] != sandbox:
            return None
        return self._pending.pop(token)[1]
