"""Steps of an emulator as lines of its output: all of them with `serve --verbose`, commands and errors in its log."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Callable, Optional

from ..control.step import Step
from ..trace.step_lines import StepLines
from ..trace.text import duration
from ..trace.timeline import result, title
from ..truncation import truncate

#: Seconds that a step takes before a line says that it has begun.
LONG_SECONDS = 1.0
#: Characters of a command in the log.
TITLE_CHARACTERS = 300


class VerboseOutput:
    """Writes the line of each step once it is over, and one before that where it takes long. A listener of steps.

    Args:
        write: Called with each line.
        is_coloured: Whether the lines have colours.
        shown: Returns a step as it may be shown.
    """

    def __init__(
        self, write: Callable[[str], None], is_coloured: bool, shown: Callable[[Step], Step] = lambda step: step
    ) -> None:
        self._write = write
        self._shown = shown
        self._lines = StepLines(is_coloured)
        self._waiting: dict[str, asyncio.TimerHandle] = {}

    def __call__(self, step: Optional[Step]) -> None:
        if step is None:
            return
        if self._lines.is_due(step):
            timer = self._waiting.pop(step.id, None)
            if timer is not None:
                timer.cancel()
            self._write_line(self._lines.line(self._shown(step)))
        elif step.status == "running" and step.id not in self._waiting:
            loop = asyncio.get_running_loop()
            self._waiting[step.id] = loop.call_later(LONG_SECONDS, self._write_begun, step)

    def _write_begun(self, step: Step) -> None:
        if step.status == "running":
            self._write_line(self._lines.begun_line(self._shown(step)))

    def _write_line(self, line: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # whoever read it is gone, which is not an error of a request
            self._write(line)


class CommandLog:
    """Writes commands and errors in sandboxes as lines of the emulator's log. A listener of steps.

    Args:
        write: Called with each line.
        shown: Returns a step as it may be shown.
    """

    def __init__(self, write: Callable[[str], None], shown: Callable[[Step], Step] = lambda step: step) -> None:
        self._write = write
        self._shown = shown
        self._lines = StepLines()

    def __call__(self, step: Optional[Step]) -> None:
        if step is None or step.kind not in ("command", "error") or not self._lines.is_due(step):
            return
        step = self._shown(step)
        level = "warning" if step.kind == "error" else "info"
        took = f" ({duration(step.duration_ms)})" if step.duration_ms else ""
        what = f"{truncate(title(step), TITLE_CHARACTERS)}{result(step)}"
        self._write(f"{step.at} {level}: {step.sandbox}: {what}{took}")
