"""Steps as they happen, one line each, for a terminal or a log."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..control.step import Step
from ..control.step_log import KEEP
from ..truncation import truncate
from .outline import describe
from .text import duration, plain
from .timeline import result, title

#: Characters of a title.
TITLE_WIDTH = 200
_DIM, _RED, _YELLOW, _PLAIN = "\x1b[2m", "\x1b[31m", "\x1b[33m", "\x1b[0m"


class StepLines:
    """Makes the line of each step, once, when the step is over.

    Args:
        is_coloured: Whether the lines have colours.
    """

    def __init__(self, is_coloured: bool = False) -> None:
        self._is_coloured = is_coloured
        #: The steps that have a line, newest last; and those that have not ended.
        self._shown: dict[str, None] = {}
        self._running: dict[str, Step] = {}
        #: Controls in one line, by id.
        self._described: dict[str, str] = {}

    def is_due(self, step: Step) -> bool:
        """Note a step that was added or changed. Returns whether its line is due: it is over, and had none."""
        if step.kind == "control":
            for control in step.controls:
                self._described[control] = describe(control, step)
        if step.id in self._shown:
            return False
        if step.status == "running":
            self._running[step.id] = step
            _bound(self._running)
            return False
        self._running.pop(step.id, None)
        self._shown[step.id] = None
        _bound(self._shown)
        _bound(self._described)
        return True

    def unfinished(self) -> Iterator[Step]:
        """The steps that have not ended, in the order in which they began."""
        return iter(sorted(self._running.values(), key=lambda step: step.start))

    def begun_line(self, step: Step) -> str:
        """The line of a step that has begun and is not over."""
        where = f"  {self._coloured(_DIM, f'[{plain(step.sandbox)}]')}" if step.sandbox not in step.title else ""
        return f"{self._time(step)} … {truncate(title(step), TITLE_WIDTH)}{where}"

    def line(self, step: Step) -> str:
        """The line of a step: when it began in real time, what it was, what became of it and which control applied."""
        failed = step.status == "error"
        parts = [self._coloured(_RED if failed else "", f"{truncate(title(step), TITLE_WIDTH)}{result(step)}")]
        if step.kind == "control":
            parts += [self._described.get(control, control) for control in step.controls]
        else:
            applied = (f"<- {self._described.get(control, control)}" for control in step.controls)
            parts += [self._coloured(_YELLOW, plain(text)) for text in applied]
        if step.sandbox and step.sandbox not in step.title:
            parts.append(self._coloured(_DIM, f"[{plain(step.sandbox)}]"))
        if step.duration_ms:
            parts.append(self._coloured(_DIM, duration(step.duration_ms)))
        return f"{self._time(step)} {'!' if failed else ' '} {'  '.join(parts)}"

    def _time(self, step: Step) -> str:
        return self._coloured(_DIM, plain(step.wall.partition("T")[2][:12]))

    def _coloured(self, colour: str, text: str) -> str:
        return f"{colour}{text}{_PLAIN}" if self._is_coloured and colour else text


def _bound(kept: dict[str, Any]) -> None:
    """Forget the oldest of too many."""
    while len(kept) > KEEP:
        del kept[next(iter(kept))]
