"""The results of a run, as objects, as lines of text, and as JSON."""

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
    """The result of one check.

    Attributes:
        check: The check.
        outcome: `equal`, `different` or `not checked`.
        expected: What the contract requires, if the outcome is `different`.
        got: What the server sent instead, if the outcome is `different`.
        why: The reason, if the outcome is `not checked`.
        seconds: The duration of the check.
    """

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
        description = {"id": check.id, "claim": check.claim, "source": check.source, "level": check.level}
        texts = {"expected": self.expected, "got": self.got} if self.outcome == DIFFERENT else {}
        if self.outcome == UNCHECKED:
            texts = {"why": self.why}
        return {**description, "outcome": self.outcome, **texts, "seconds": round(self.seconds, 3)}


@dataclass
class Report:
    """The results of a run.

    Attributes:
        base_url: The address of the server.
        results: One for each check, in the order of the checks.
        left_behind: What was created and could not be removed, as texts.
        aborted: Why the run could not be finished; empty if it was.
    """

    base_url: str
    results: list[Result] = field(default_factory=list)
    left_behind: list[str] = field(default_factory=list)
    aborted: str = ""

    def _with_outcome(self, outcome: str) -> list[Result]:
        return [result for result in self.results if result.outcome == outcome]

    @property
    def equal(self) -> list[Result]:
        return self._with_outcome(EQUAL)

    @property
    def different(self) -> list[Result]:
        return self._with_outcome(DIFFERENT)

    @property
    def unchecked(self) -> list[Result]:
        return self._with_outcome(UNCHECKED)

    @property
    def exit_code(self) -> int:
        """0 if nothing differs, 1 if something does, 2 if the run could not be finished."""
        return 2 if self.aborted else 1 if self.different else 0

    @property
    def summary(self) -> str:
        return f"{len(self.equal)} equal, {len(self.different)} different, {len(self.unchecked)} not checked"

    def as_json(self) -> dict[str, Any]:
        return {
            "base_url": self.base_url,
            "equal": len(self.equal),
            "different": len(self.different),
            "not_checked": len(self.unchecked),
            "left_behind": self.left_behind,
            "aborted": self.aborted,
            "results": [result.as_json() for result in self.results],
        }

    def lines(self, verbose: bool = False) -> Iterator[str]:
        """Yield what differs, what was not checked and why, and the summary.

        Args:
            verbose: Also yield what is equal.
        """
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
        for what in self.left_behind:
            yield f"left behind  {what}"
        if self.aborted:
            yield f"stopped      {self.aborted}"
        yield self.summary
