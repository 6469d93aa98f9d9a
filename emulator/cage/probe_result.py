"""What a probe of an isolation level has found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from .subordinate_ids import SubordinateIds


@dataclass(frozen=True)
class ProbeResult:
    """Whether a level works on this machine.

    Attributes:
        level: One of `isolation.LEVELS`.
        works: Whether it does.
        reason: Why it does not; for one that works, what it consists of.
        fix: What to do about it; "" when that is not known or not needed.
        confined: Whether the signals of a command reach its own sandbox only.
        root: How the root of a sandbox is made; one of `isolation.ROOTS`, and "" at level `process`.
        root_refused: Why it is not made in the better way; "" if it is.
        root_fix: What to do about that; "" if nothing has to be.
        ids: The users of a sandbox's user namespace; None for root alone, or without such a namespace.
        ids_refused: Why it has root alone; "" if it does not.
        ids_fix: What to do about that; "" when that is not known or not needed.
    """

    level: str
    works: bool
    reason: str
    fix: str = ""
    confined: bool = True
    root: str = ""
    root_refused: str = ""
    root_fix: str = ""
    ids: Optional[SubordinateIds] = None
    ids_refused: str = ""
    ids_fix: str = ""
