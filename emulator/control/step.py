"""A step: something that happened to an account. The format: docs/trace-format.md."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Literal, Optional, get_args

from ..truncation import truncate
from .names import alternatives
from .records import value

#: The version of the format. It changes when a reader of the old one would misread the new one.
FORMAT = 1
StepKind = Literal[
    "test", "call", "request", "command", "prompt", "file", "sandbox", "control", "alert", "event", "error"
]
KINDS: tuple[str, ...] = get_args(StepKind)
StepStatus = Literal["running", "ok", "error"]
STATUSES: tuple[str, ...] = get_args(StepStatus)

#: Characters of a title, which is one line.
TITLE_CHARACTERS = 300


@dataclass
class Step:
    """Something that happened, or that is happening."""

    id: str = value("Id of the step, unique in the trace.", column=True)
    kind: str = value(f"{alternatives(KINDS)}.", column=True)
    title: str = value("What happened, in one line.", column=True, is_long=True)
    account: str = value("Id of the account; empty for a request that was not authenticated.")
    at: str = value("When it began, by the account's clock (RFC 3339).", column=True)
    wall: str = value("When it began in real time (RFC 3339).")
    start: float = value("When it began, in seconds since the emulator started, by a clock that is never set.")
    parent: str = value("Id of the step that caused it; empty where none did.", default="")
    sandbox: str = value("Id of the sandbox in which it happened; empty where it happened in none.", default="")
    test: str = value("Node id of the test during which it happened, where that is known.", default="")
    status: str = value(f"{alternatives(STATUSES)}.", column=True, default="running")
    duration_ms: Optional[float] = value(
        "How long it took in real time; null while it runs.", column=True, default=None
    )
    controls: list[str] = value("Ids of the faults, stubs and replies that applied to it.", default=[])
    detail: dict[str, Any] = field(default_factory=dict, metadata={"help": "What is known of it, by its kind: below."})
    revision: int = value("Grows with each change of a step of the account.", default=0)


_CURRENT: ContextVar[Optional[Step]] = ContextVar("caged_step", default=None)


def current() -> Optional[Step]:
    """The step that the present work belongs to."""
    return _CURRENT.get()


def set_current(step: Optional[Step]) -> None:
    """Make the rest of this task, and tasks that it starts, belong to a step."""
    _CURRENT.set(step)


class within:
    """Make a block belong to a step."""

    __slots__ = ("_step", "_token")

    def __init__(self, step: Optional[Step]) -> None:
        self._step = step

    def __enter__(self) -> None:
        self._token = _CURRENT.set(self._step)

    def __exit__(self, *_: object) -> None:
        _CURRENT.reset(self._token)


def title_of(text: str) -> str:
    """The first line of a text, cut to a title. A carriage return is visible: a terminal would write over the line."""
    if len(text) <= TITLE_CHARACTERS and "\n" not in text and "\r" not in text:
        return text.strip()  # as most titles
    text = text.replace("\r\n", "\n").replace("\r", "\u240d").strip()
    line, has_more, _rest = text.partition("\n")
    return f"{line}…" if has_more and len(line) <= TITLE_CHARACTERS else truncate(line, TITLE_CHARACTERS)
