"""Events, and the histories that keep the newest of them in order."""

from __future__ import annotations

import weakref
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Optional

MOST_EVENTS = 10_000
MOST_BYTES = 32 * 1024**2
#: Of the events of one account in all of its histories. An event counts as its data plus EVENT_BYTES.
ACCOUNT_BYTES = 128 * 1024**2
EVENT_BYTES = 500
#: Of one page of events. The first event of a page may be larger.
PAGE_BYTES = 4 * 1024**2


@dataclass(frozen=True)
class Event:
    """One event (wire-contract.md 3.6 and 3.7).

    Attributes:
        id: The id.
        account_id: The account.
        sandbox_id: The sandbox; empty if it is an event of the account alone.
        session_id: The agent session; empty if there was none.
        sequence: The number within the session, or within the sandbox or account if there was no session; from 1.
        type: The type, which determines the form of `data`.
        timestamp: The time of its end, RFC 3339.
        duration_ms: The duration in milliseconds.
        data: JSON.
        process_id: The process, if a client has named one.
        meta: Texts that a client has added.
    """

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
    """A page of a history.

    Attributes:
        events: The events, oldest first.
        more: Whether there are events behind this page.
        next_sequence: The `after` of the next page: the sequence of the last event.
        total: The number of kept events that match the filter.
    """

    events: list[Event]
    more: bool
    next_sequence: int
    total: int


class EventLimiter:
    """Limits the events of one account, over all of its histories.

    When they have more than ACCOUNT_BYTES in total, the oldest are removed from their histories.
    """

    def __init__(self) -> None:
        self._order: deque[tuple[weakref.ref[History], int, int]] = deque()
        self._bytes = 0

    def add(self, history: History, number: int, weight: int) -> None:
        """Add an event, given by its number in a history and the bytes of its data."""
        weight += EVENT_BYTES
        self._order.append((weakref.ref(history), number, weight))
        self._bytes += weight
        while self._bytes > ACCOUNT_BYTES:
            oldest, number, weight = self._order.popleft()
            self._bytes -= weight
            oldest_history = oldest()
            if oldest_history is not None:
                oldest_history.drop_up_to(number)


class History:
    """The newest events of a sandbox, a session or an account: at most MOST_EVENTS, with MOST_BYTES of data.

    Attributes:
        types: The number of all events so far, by type.
        count: The number of all events so far.
        first: The time of the earliest event, in epoch seconds; None without events.
        last: The time of the latest event.
    """

    def __init__(self) -> None:
        self._kept: deque[tuple[Event, int]] = deque()
        self._bytes = 0
        self._limiter: Optional[EventLimiter] = None
        self.types: Counter[str] = Counter()
        self.count = 0
        self.first: Optional[float] = None
        self.last: Optional[float] = None

    def append(self, event: Event, at: float, weight: int, limiter: Optional[EventLimiter] = None) -> None:
        """Add an event, and remove the oldest ones beyond the limits.

        Args:
            event: The event.
            at: Its time, in epoch seconds.
            weight: The approximate number of bytes of its data.
            limiter: The limiter of the account.
        """
        if limiter is not None and self._limiter is not limiter:
            self._limiter = limiter
            for number, (_event, kept_weight) in enumerate(self._kept, self.count - len(self._kept) + 1):
                limiter.add(self, number, kept_weight)
        self._kept.append((event, weight))
        self._bytes += weight
        while len(self._kept) > MOST_EVENTS or (self._bytes > MOST_BYTES and len(self._kept) > 1):
            self._bytes -= self._kept.popleft()[1]
        self.count += 1
        self.types[event.type] += 1
        self.first = at if self.first is None else min(self.first, at)
        self.last = at if self.last is None else max(self.last, at)
        if limiter is not None:
            limiter.add(self, self.count, weight)

    def drop_up_to(self, number: int) -> None:
        """Remove the events up to a number, counted from the very first event."""
        while self._kept and self.count - len(self._kept) + 1 <= number:
            self._bytes -= self._kept.popleft()[1]

    @property
    def kept(self) -> Sequence[tuple[Event, int]]:
        """The kept events with their weights, oldest first."""
        return self._kept

    def restore(
        self, kept: Iterable[tuple[Event, int]], types: Mapping[str, int], first: Optional[float], last: Optional[float]
    ) -> None:
        """Set the content from the state of a previous emulator."""
        self._kept = deque(kept)
        self._bytes = sum(weight for _event, weight in self._kept)
        self.types = Counter(types)
        self.count = sum(types.values())
        self.first, self.last = first, last

    def events(self) -> list[Event]:
        """Return the kept events, oldest first."""
        return [event for event, _weight in self._kept]

    def page(self, after: int, limit: int, kind: str = "") -> Page:
        """Return a page of events.

        Args:
            after: Only events with a larger sequence.
            limit: The largest number of events. A page also ends before it has more than PAGE_BYTES.
            kind: Only events of this type; empty means all types.
        """
        matching = [event for event in self.events() if not kind or event.type == kind]
        rest = [event for event in matching if event.sequence > after]
        shown = list(islice(rest, limit))
        weights = {id(event): weight for event, weight in self._kept}
        size = 0
        for index, event in enumerate(shown):
            size += weights[id(event)]
            if size > PAGE_BYTES and index:
                del shown[index:]
                break
        return Page(shown, len(rest) > len(shown), shown[-1].sequence if shown else max(after, 0), len(matching))
