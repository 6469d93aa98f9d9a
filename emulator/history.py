"""What happened: one event, and the newest of them in order."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Optional

MOST_EVENTS = 10_000
MOST_BYTES = 32 * 1024**2


@dataclass(frozen=True)
class Event:
    """`sequence` counts from 1 within the session, or within the sandbox (account) when there was no session.
    `timestamp` is when it was over. wire-contract.md 3.6 and 3.7 have the types; `data` is JSON by type."""

    id: str
    account_id: str
    sandbox_id: str
    session_id: str
    sequence: int
    type: str
    timestamp: str
    duration_ms: float
    data: Any
    process_id: str = ""
    meta: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Page:
    """`next_sequence`: of the last event delivered. `total`: all that are kept and pass the filter."""

    events: list[Event]
    more: bool
    next_sequence: int
    total: int


class History:
    """At most MOST_EVENTS and MOST_BYTES of data; the oldest are forgotten first. `types` counts all there ever were,
    `first` and `last` are the outermost times (epoch seconds)."""

    def __init__(self) -> None:
        self._kept: deque[tuple[Event, int]] = deque()
        self._bytes = 0
        self.types: Counter[str] = Counter()
        self.count = 0
        self.first: Optional[float] = None
        self.last: Optional[float] = None

    def append(self, event: Event, at: float, weight: int) -> None:
        """`weight`: bytes of the event's data, about."""
        self._kept.append((event, weight))
        self._bytes += weight
        while len(self._kept) > MOST_EVENTS or (self._bytes > MOST_BYTES and len(self._kept) > 1):
            self._bytes -= self._kept.popleft()[1]
        self.count += 1
        self.types[event.type] += 1
        self.first = at if self.first is None else min(self.first, at)
        self.last = at if self.last is None else max(self.last, at)

    @property
    def kept(self) -> Sequence[tuple[Event, int]]:
        """Each event with its weight, oldest first."""
        return self._kept

    def restore(
        self, kept: Iterable[tuple[Event, int]], types: Mapping[str, int], first: Optional[float], last: Optional[float]
    ) -> None:
        """What an emulator before has kept."""
        self._kept = deque(kept)
        self._bytes = sum(weight for _event, weight in self._kept)
        self.types = Counter(types)
        self.count = sum(types.values())
        self.first, self.last = first, last

    def events(self) -> list[Event]:
        """Oldest first."""
        return [event for event, _weight in self._kept]

    def page(self, after: int, limit: int, kind: str = "") -> Page:
        """Events with a sequence above `after`, of type `kind` when one is given."""
        passing = [event for event in self.events() if not kind or event.type == kind]
        rest = [event for event in passing if event.sequence > after]
        shown = list(islice(rest, limit))
        return Page(shown, len(rest) > limit, shown[-1].sequence if shown else max(after, 0), len(passing))
