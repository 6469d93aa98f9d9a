"""What a check is: one fact of the platform's wire, and a function that looks whether a server keeps to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Callable

if TYPE_CHECKING:
    from .context import Context

    Look = Callable[[Context], None]

#: `contract`: known of the real platform, by its clients or its documentation. `decision`: no source says, and this
#: project has decided; the real platform may differ there without being wrong.
CONTRACT, DECISION = "contract", "decision"
LEVELS = (CONTRACT, DECISION)


class Different(Exception):
    """The server does not keep to the fact."""

    def __init__(self, expected: object, got: object) -> None:
        super().__init__(f"expected {expected}, got {got}")
        self.expected = str(expected)
        self.got = str(got)


class Unchecked(Exception):
    """Whether it keeps to the fact cannot be told; the text says why."""


class CannotRun(Exception):
    """Nothing can be told of this server. The text says why, and what to do."""


@dataclass(frozen=True)
class Check:
    """`id` is `group.name` and stays the same between releases; `claim` is one sentence; `source` says where the fact
    stands: a section of wire-contract.md, of wire-other-clients.md, or of platform-behaviour.md (Part A: decisions, B:
    documentation)."""

    id: str
    claim: str
    source: str
    level: str
    look: Look


class Group:
    """The checks of one resource, in the order in which they are written down."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.checks: list[Check] = []

    def contract(self, name: str, claim: str, source: str) -> Callable[[Look], Look]:
        return self._adding(name, claim, source, CONTRACT)

    def decision(self, name: str, claim: str, source: str) -> Callable[[Look], Look]:
        return self._adding(name, claim, source, DECISION)

    def _adding(self, name: str, claim: str, source: str, level: str) -> Callable[[Look], Look]:
        def add(look: Look) -> Look:
            self.checks.append(Check(f"{self.name}.{name}", claim, source, level, look))
            return look

        return add
