"""What a step keeps of the output of a command."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

#: Of the output of a command: characters at its beginning and at its end that a step keeps, and pieces with a time.
OUTPUT_HEAD, OUTPUT_TAIL = 48 * 1024, 16 * 1024
PIECES = 200


@dataclass(frozen=True)
class KeptOutput:
    """What is kept of an output: its beginning and its end, redacted.

    Attributes:
        length: Characters of the whole output.
        head: Its first OUTPUT_HEAD characters, redacted.
        tail: Its last OUTPUT_TAIL characters, redacted; empty where `head` is all of it.
    """

    length: int
    head: str
    tail: str = ""

    def detail(self, times: Iterable[tuple[float, float]] = ()) -> dict[str, Any]:
        """The output in the detail of a step.

        Args:
            times: Seconds since the command began, and the part of the output, from 0 to 1, that was printed by then.

        Returns:
            `output`: pieces, each with the seconds after which it was printed. `output_cut`, where some of it is not
            kept: how many characters of `output` stand before the gap, and how many the gap has.
        """
        text, pieces, done, at = self.head + self.tail, [], 0, 0.0
        for seconds, part in [*itertools.islice(times, PIECES - 1), (None, 1.0)]:
            end = self._place(part)
            at = at if seconds is None else round(seconds, 3)
            if end > done:
                pieces.append([at, text[done:end]])
                done = end
        found: dict[str, Any] = {"output": pieces}
        if self.tail:
            found["output_cut"] = {"after": len(self.head), "characters": self.length - OUTPUT_HEAD - OUTPUT_TAIL}
        return found

    def _place(self, part: float) -> int:
        """Where a part of the output ends in what is kept. Redaction changes lengths, so that it is about right."""
        if part >= 1:
            return len(self.head) + len(self.tail)
        place = part * self.length
        whole_head = min(self.length, OUTPUT_HEAD)
        if place <= whole_head:
            return int(len(self.head) * place / whole_head) if whole_head else 0
        in_tail = max(0.0, place - (self.length - OUTPUT_TAIL))
        return len(self.head) + int(len(self.tail) * in_tail / OUTPUT_TAIL)
