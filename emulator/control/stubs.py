"""Stubs: outputs in place of whole commands, and of programs wherever they are called."""

from __future__ import annotations

import math
import re
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Callable, Optional, Union

from .capacity import Capacity, size_of
from .current_account import ALL_ACCOUNTS, in_order
from .patterns import TextPattern, matches
from .randomness import Randomness

KINDS = ("command", "program")
_PROGRAM = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9._+@-]{1,200}")
#: Answers that a shell was told to fetch and has not fetched; the oldest are given up.
MOST_PENDING, PENDING_CHARACTERS = 1000, 32 * 1024**2


@dataclass(frozen=True)
class Output:
    """What stands in place of a command's work. `output`: a text, or pieces of it. `delay`: seconds before the text, or
    before each piece. `error`: it could not be run at all: exec answers with `error`, a shell says so and has 126."""

    output: Union[str, Sequence[str]] = ""
    exit_code: int = 0
    delay: float = 0.0
    error: Optional[str] = None

    def check(self) -> None:
        """Check values and types; a function of a test may return anything.

        Raises:
            ValueError, TypeError: An attribute is wrong; the text starts with its name.
        """
        check_text_pieces("output", self.output)
        check_exit_code(self.exit_code)
        check_amount("delay", self.delay)
        if self.error is not None and not isinstance(self.error, str):
            raise TypeError(f"error: must be a str, not {self.error!r}")
        if self.error is not None and (self.text or self.exit_code):
            given = "output" if self.text else "exit_code"
            raise ValueError(f"{given}: cannot be had together with error, which is the whole answer")

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
    """One stub.

    Attributes:
        match: Pattern of the whole command (kind `command`).
        program: Name of the program (kind `program`), with patterns of its `args`, joined by spaces, and its `stdin`.
        sandbox: Id of the only sandbox in which it applies.
        times: How often it answers; None: always.
        optional: Not reported when it is never used.
        function: Decides and answers instead of `output`.
        allow_errors: An exception of `function` does not fail the test.
    """

    id: str
    account: str
    kind: str = "command"
    match: Optional[TextPattern] = None
    program: Optional[str] = None
    args: Optional[TextPattern] = None
    stdin: Optional[TextPattern] = None
    sandbox: Optional[str] = None
    output: Output = field(default_factory=Output)
    times: Optional[int] = None
    optional: bool = False
    function: Optional[Callable[[Question], Said]] = field(default=None, repr=False)
    allow_errors: bool = False
    used: int = 0

    def check(self) -> None:
        """Check the options.

        Raises:
            ValueError: An option is wrong; the text starts with its name.
        """
        if self.kind not in KINDS:
            raise ValueError(f"kind: {self.kind!r} is unknown; use one of {', '.join(KINDS)}")
        if self.kind == "command":
            if self.match is None and self.function is None:
                raise ValueError("match: is missing; give the command, a pattern or a function")
            if self.program is not None or self.args is not None or self.stdin is not None:
                raise ValueError("program, args and stdin: are options of programs; use kind 'program'")
        elif self.program is None or _PROGRAM.fullmatch(self.program) is None:
            raise ValueError(f"program: {self.program!r} is not the name of a program; give it without a directory")
        elif self.match is not None:
            raise ValueError("match: is an option of commands; for a program use args")
        if self.times is not None and self.times < 1:
            raise ValueError("times: must be at least 1")
        if self.allow_errors and self.function is None:
            raise ValueError("allow_errors: applies to functions only; this stub has none")
        self.output.check()

    @property
    def exhausted(self) -> bool:
        return self.times is not None and self.used >= self.times

    @property
    def reads_stdin(self) -> bool:
        return self.stdin is not None or (self.kind == "program" and self.function is not None)

    def of(self, account: str, sandbox: str) -> bool:
        return self.account in (account, ALL_ACCOUNTS) and self.sandbox in (None, sandbox)

    def fits(self, question: Question) -> bool:
        """Whether the patterns match; the function is not called. Input that was not read matches."""
        if self.kind == "command":
            return matches(self.match, question.command)
        return (
            self.program == question.program
            and matches(self.args, " ".join(question.arguments))
            and (question.stdin is None or matches(self.stdin, question.stdin))
        )

    def outcome(self, said: Said) -> Optional[Output]:
        """The output that the function's result stands for; None when the stub does not apply to the command.

        Raises:
            ValueError, TypeError: The function returned something else.
        """
        if said is None or said is False:
            return None
        if said is True:
            return self.output
        if isinstance(said, str):
            return replace(self.output, output=said)
        if isinstance(said, Output):
            said.check()
            return said
        raise TypeError(f"the function returned {said!r}, not a bool, a str, an Output or None")

    def __str__(self) -> str:
        """With its options: 'npm *', times=2."""
        match = "a function" if self.match is None else repr(self.match)
        pattern = repr(self.program) if self.kind == "program" else match
        given = {"args": self.args, "stdin": self.stdin, "sandbox": self.sandbox, "times": self.times}
        shown = [pattern, *(f"{name}={value!r}" for name, value in given.items() if value is not None)]
        shown += ["account='*'"] if self.account == ALL_ACCOUNTS else []
        return f"stub {self.id} ({', '.join(shown)})"


def check_text_pieces(name: str, text: object) -> None:
    if isinstance(text, str):
        return
    if isinstance(text, (bytes, bytearray)) or not isinstance(text, Sequence):
        raise TypeError(f"{name}: must be a str or a list of str, not {text!r}")
    for piece in text:
        if not isinstance(piece, str):
            raise TypeError(f"{name}: must be a str or a list of str; it contains {piece!r}")


def check_exit_code(code: object) -> None:
    if isinstance(code, bool) or not isinstance(code, int):
        raise TypeError(f"exit_code: must be an int from 0 to 255, not {code!r}")
    if not 0 <= code <= 255:
        raise ValueError(f"exit_code: must be from 0 to 255, not {code}")


def check_amount(name: str, amount: object) -> None:
    if isinstance(amount, bool) or not isinstance(amount, (int, float)):
        raise TypeError(f"{name}: must be a number, not {amount!r}")
    if not math.isfinite(amount) or amount < 0:
        raise ValueError(f"{name}: must be a finite number and must not be negative, not {amount!r}")


class Stubs:
    def __init__(self, randomness: Randomness) -> None:
        self._randomness = randomness
        self._stubs: dict[str, Stub] = {}
        self._room = Capacity("stubs")
        self._pending: OrderedDict[str, tuple[str, Output]] = OrderedDict()
        self._pending_size = 0

    def add(self, account: str, **options: object) -> Stub:
        """ValueError for options that make no sense."""
        stub = Stub(id=self._randomness.identifier("stub", self._stubs), account=account, **options)  # type: ignore[arg-type]
        stub.check()
        self._room.take(stub, self._stubs)
        self._stubs[stub.id] = stub
        return stub

    def __bool__(self) -> bool:
        return bool(self._stubs)

    def of(self, account: str) -> list[Stub]:
        """All that apply to an account (those of every account alone for `*`), in the order in which they are tried."""
        return in_order(self._stubs.values(), account)

    def own(self, account: str) -> list[Stub]:
        """Those that were added for exactly this account, or for `*`."""
        return [stub for stub in self._stubs.values() if stub.account == account]

    def get(self, stub_id: str) -> Optional[Stub]:
        return self._stubs.get(stub_id)

    def remove(self, stub: Stub) -> None:
        self._stubs.pop(stub.id, None)

    def usable(self, account: str, sandbox: str, kind: str = "command") -> list[Stub]:
        """Those that may answer there, in the order in which they are tried."""
        return [stub for stub in self.of(account) if stub.kind == kind and stub.of(account, sandbox)]

    def programs(self, account: str, sandbox: str) -> Iterable[str]:
        """Names of the programs that are stood in for, each once."""
        return dict.fromkeys(stub.program or "" for stub in self.usable(account, sandbox, "program"))

    # --- answers that a shell fetches by their token

    def leave(self, token: str, sandbox: str, output: Output) -> None:
        self._pending[token] = (sandbox, output)
        self._pending_size += size_of(output)
        while len(self._pending) > MOST_PENDING or (self._pending_size > PENDING_CHARACTERS and len(self._pending) > 1):
            self._pending_size -= size_of(self._pending.popitem(last=False)[1][1])

    def fetch(self, token: str, sandbox: str) -> Optional[Output]:
        """Once, and there only where it was left for."""
        if self._pending.get(token, ("",))[0] != sandbox:
            return None
        output = self._pending.pop(token)[1]
        self._pending_size -= size_of(output)
        return output
