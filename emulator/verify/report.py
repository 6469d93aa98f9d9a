"""What came of the checks, as an object, as lines for a person, and as JSON."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from .check import Check

EQUAL, DIFFERENT, UNCHECKED = "equal", "different", "not checked"
_WIDTH = 100


@dataclass(frozen=True)
class Result:
    """`outcome`: `equal`, `different` (then with `expected` and `got`) or `not checked` (then with `why`)."""

    check: Check
    outcome: str
    expected: str = ""
    got: str = ""
    why: str = ""
    seconds: float = 0.0

    @property
    def id(self) -> str:
        return self.check.id

    def as_json(self) -> dict[str, Any]:
        check = self.check
        told = {"expected": self.expected, "got": self.got} if self.outcome == DIFFERENT else {}
        if self.outcome == UNCHECKED:
            told = {"why": self.why}
        about = {"id": check.id, "claim": check.claim, "source": check.source, "level": check.level}
        return {**about, "outcome": self.outcome, **told, "seconds": round(self.seconds, 3)}


@dataclass
class Report:
    """`left`: what was made and could not be undone, in words. `gone`: why the run could not be finished, if so."""

    base_url: str
    results: list[Result] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    gone: str = ""

    def _of(self, outcome: str) -> list[Result]:
        return [result for result in self.results if result.outcome == outcome]

    @property
    def equal(self) -> list[Result]:
        return self._of(EQUAL)

    @property
    def different(self) -> list[Result]:
        return self._of(DIFFERENT)

    @property
    def unchecked(self) -> list[Result]:
        return self._of(UNCHECKED)

    @property
    def exit_code(self) -> int:
        """0 nothing differs, 1 something does, 2 the run could not be finished."""
        return 2 if self.gone else 1 if self.different else 0

    @property
    def summary(self) -> str:
        return f"{len(self.equal)} equal, {len(self.different)} different, {len(self.unchecked)} not checked"

    def as_json(self) -> dict[str, Any]:
        return {
            "base_url": self.base_url,
            "equal": len(self.equal),
            "different": len(self.different),
            "not_checked": len(self.unchecked),
            "left": self.left,
            "gone": self.gone,
            "results": [result.as_json() for result in self.results],
        }

    def lines(self, verbose: bool = False) -> Iterator[str]:
        """What differs, what was not checked and why, and the summary. `verbose`: what is equal, too."""
        if verbose:
            for result in self.equal:
                yield f"equal        {result.id}: {result.check.claim} ({result.check.source})"
            yield ""
        for result in self.different:
            check = result.check
            yield f"DIFFERENT    {check.id}  [{check.level}, {check.source}]"
            for name, text in (("claim", check.claim), ("expected", result.expected), ("got", result.got)):
                yield from textwrap.wrap(
                    text, _WIDTH, initial_indent=f"  {name:<11}", subsequent_indent=" " * 13, break_on_hyphens=False
                ) or [f"  {name}"]
        reasons: dict[str, list[str]] = {}
        for result in self.unchecked:
            reasons.setdefault(result.why, []).append(result.id)
        for why, ids in reasons.items():
            yield from textwrap.wrap(
                f"not checked  {', '.join(ids)}: {why}", _WIDTH, subsequent_indent=" " * 13, break_on_hyphens=False
            )
        for what in self.left:
            yield f"left behind  {what}"
        if self.gone:
            yield f"stopped      {self.gone}"
        yield self.summary
