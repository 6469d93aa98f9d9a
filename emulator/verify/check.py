"""A check: one fact of the platform's wire, and a function that tests whether a server conforms to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable

from .context import Context

#: Raises `Mismatch` or `SkipCheck`.
CheckFunction = Callable[[Context], None]

#: `contract`: known of the real platform, from its clients or its documentation. `decision`: no source says, and this
#: project has decided; the real platform may differ there without being wrong.
CONTRACT, DECISION = "contract", "decision"
LEVELS = (CONTRACT, DECISION)


@dataclass(frozen=True)
class Check:
    """One fact of the platform's wire.

    Attributes:
        id: `group.name`; stays the same between releases.
        claim: The fact, as one sentence.
        source: Where the fact is documented: a section of wire-contract.md, of wire-other-clients.md, or of
            platform-behaviour.md (Part A: decisions, B: documentation).
        level: `contract` or `decision`.
        run: The function that makes the check.
    """

    id: str
    claim: str
    source: str
    level: str
    run: CheckFunction


class Group:
    """The checks of one resource, in the order of their definition."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.checks: list[Check] = []

    def contract(self, name: str, claim: str, source: str) -> Callable[[CheckFunction], CheckFunction]:
        """Register the decorated function as a check of level `contract`."""
        return self._decorator(name, claim, source, CONTRACT)

    def decision(self, name: str, claim: str, source: str) -> Callable[[CheckFunction], CheckFunction]:
        """Register the decorated function as a check of level `decision`."""
        return self._decorator(name, claim, source, DECISION)

    def _decorator(self, name: str, claim: str, source: str, level: str) -> Callable[[CheckFunction], CheckFunction]:
        def register(function: CheckFunction) -> CheckFunction:
            self.checks.append(Check(f"{self.name}.{name}", claim, source, level, function))
            return function

        return register
