"""What happened: one event, and the newest of them in order."""

from __future__ import annotations

import weakref
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Optional

MOST_EVENTS = 10_000
MOST_BYTES = 32 * 1024**2
#: Of the events of one account, in all its histories; an event counts with its data and EVENT_BYTES.
ACCOUNT_BYTES = 128 * 1024**2
EVENT_BYTES = 500
#: Of one page of events. There is always one event in it.
PAGE_BYTES = 4 * 1024**2


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


class Ledger:
    """The order in which the events of one account came, over all its histories. When they have more than
    ACCOUNT_BYTES, the oldest are forgotten, in whichever history they are."""

    def __init__(self) -> None:
        self._order: deque[tuple[weakref.ref[History], int, int]] = deque()
        self._bytes = 0

    def add(self, history: History, number: int, weight: int) -> None:
        weight += EVENT_BYTES
        self._order.append((weakref.ref(history), number, weight))
        self._bytes += weight
        while self._bytes > ACCOUNT_BYTES:
            oldest, number, weight = self._order.popleft()
            self._bytes -= weight
            kept = oldest()
            if kept is not None:
                kept.drop_through(number)


class History:
    """At most MOST_EVENTS and MOST_BYTES of data; the oldest are forgotten first. `types` counts all there ever were,
    `first` and `last` are the outermost times (epoch seconds)."""

    def __init__(self) -> None:
        self._kept: deque[tuple[Event, int]] = deque()
        self._bytes = 0
        self._ledger: Optional[Ledger] = None
        self.types: Counter[str] = Counter()
        self.count = 0
        self.first: Optional[float] = None
        self.last: Optional[float] = None

    def append(self, event: Event, at: float, weight: int, ledger: Optional[Ledger] = None) -> None:
        """`weight`: bytes of the event's data, about. `ledger`: of the account, which bounds all its histories."""
        if ledger is not None and self._ledger is not ledger:
            self._ledger = ledger
            for number, (_event, known) in enumerate(self._kept, self.count - len(self._kept) + 1):
                ledger.add(self, number, known)
        self._kept.append((event, weight))
        self._bytes += weight
        while len(self._kept) > MOST_EVENTS or (self._bytes > MOST_BYTES and len(self._kept) > 1):
            self._bytes -= self._kept.popleft()[1]
        self.count += 1
        self.types[event.type] += 1
        self.first = at if self.first is None else min(self.first, at)
        self.last = at if self.last is None else max(self.last, at)
        if ledger is not None:
            ledger.add(self, self.count, weight)

    def drop_through(self, number: int) -> None:
        """Forget the events up to that one, counted from the first that there ever was."""
        while self._kept and self.count - len(self._kept) + 1 <= number:
            self._bytes -= self._kept.popleft()[1]

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
        weights = {id(event): weight for event, weight in self._kept}
        size = 0
        for index, event in enumerate(shown):
            size += weights[id(event)]
            if size > PAGE_BYTES and index:
                del shown[index:]
                break
        return Page(shown, len(rest) > len(shown), shown[-1].sequence if shown else max(after, 0), len(passing))
