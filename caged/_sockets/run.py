"""One command over a terminal, without I/O: what to type, how long to wait, what the messages mean.

`ExecStream` and `ExecOutput` do the sending and the waiting, one for coroutines, one for threads.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Optional

from .. import _arguments as arguments
from .. import _timing
from .._constants import EXIT_CODE_PATIENCE
from .._errors import CagedTimeoutError
from .markers import MarkerReader, Markers
from .messages import input_messages, output_of
from .target import Target


class Run:
    """One command.

    Args:
        limit: Seconds the whole command may take; None means no limit.
        begin_limit: Seconds until its shell is there; None means no limit.

    Attributes:
        over: Whether the output has ended.
    """

    def __init__(self, target: Target, command: Any, limit: Any, begin_limit: Optional[float]) -> None:
        self.target = target
        self._command = arguments.text("command", command)
        self._limit = arguments.seconds("timeout", limit)
        self._begin_limit = begin_limit
        self._markers = Markers()
        self._reader = MarkerReader(self._markers)
        self._begun_at = _timing.now()
        self._waited_for = self._limit
        self.over = False

    @property
    def exit_code(self) -> Optional[int]:
        return self._reader.exit_code

    def begin(self) -> Iterator[str]:
        """The messages that start it; the time runs from here."""
        self._begun_at = _timing.now()
        for line in self._markers.lines(self._command):
            yield from input_messages(line)

    def patience(self) -> Optional[float]:
        """Seconds to wait for the next message; None means no limit."""
        spent = _timing.now() - self._begun_at
        self._waited_for = self._limit
        left = None if self._limit is None else max(0.0, self._limit - spent)
        if not self._reader.begun and self._begin_limit is not None:
            to_begin = max(0.0, self._begin_limit - spent)
            if left is None or to_begin < left:
                self._waited_for, left = self._begin_limit, to_begin
        if self._reader.counting and (left is None or left > EXIT_CODE_PATIENCE):
            return EXIT_CODE_PATIENCE
        return left

    def take(self, message: Optional[str]) -> str:
        """What a message adds to the output; None is the end of the connection."""
        output = self._reader.end() if message is None else self._reader.feed(output_of(message))
        self.over = message is None or self.exit_code is not None
        return output

    def run_out(self) -> None:
        """Nothing came within `patience`.

        Raises:
            CagedTimeoutError: Unless it was only the end of the exit code that was waited for.
        """
        self.over = True
        if self._reader.counting:
            self._reader.end()
            return
        what = "the command still runs, and is ended" if self._reader.begun else "its shell did not begin"
        message = f"{self.target} timed out after {self._waited_for}s: {what}"
        raise CagedTimeoutError(message, timeout=self._waited_for) from None
