"""The time of an emulator: real time, until a test freezes or advances it, for its own account or for all."""

from __future__ import annotations

import functools
import re
import time
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Optional

from . import current_account
from .description import option

_LATEST = 253402300799.0  # the last second of 9999
#: The frozen time at which a seeded emulator starts: 2026-01-01T00:00:00Z.
SEEDED_START = 1767225600.0


@dataclass
class Advance:
    """How far a clock is advanced: the sum of its parts."""

    seconds: float = option(0.0, "Seconds.")
    minutes: float = option(0.0, "Minutes, added to the seconds.")
    hours: float = option(0.0, "Hours, added to the seconds.")
    days: float = option(0.0, "Days, added to the seconds.")

    @property
    def total(self) -> float:
        """The sum in seconds."""
        return self.seconds + 60 * self.minutes + 3600 * self.hours + 86400 * self.days


@dataclass
class Tick:
    """How far a clock ticks."""

    seconds: float = option(1.0, "Seconds.")


@dataclass
class AccountClock:
    """The time of one account, or of all that have none of their own.

    Attributes:
        offset: Seconds ahead of real time, while it is not frozen.
        frozen: The epoch second at which it is frozen.
        stood: Seconds for which it was frozen in all; while it is frozen, without the current freeze.
        since: When it was frozen last, by `time.perf_counter`.
    """

    offset: float = 0.0
    frozen: Optional[float] = None
    stood: float = 0.0
    since: float = 0.0

    def stopwatch(self) -> float:
        return (time.perf_counter() if self.frozen is None else self.since) - self.stood

    def time(self) -> float:
        return time.time() + self.offset if self.frozen is None else self.frozen

    def freeze(self, at: Optional[float]) -> None:
        if self.frozen is None:
            self.since = time.perf_counter()
        self.frozen = self.time() if at is None else at

    def unfreeze(self) -> None:
        if self.frozen is not None:
            self.offset, self.frozen = self.frozen - time.time(), None
            self.stood += time.perf_counter() - self.since

    def advance(self, seconds: float) -> None:
        if self.frozen is None:
            self.offset += seconds
        else:
            self.frozen += seconds


class Clock:
    """The only source of time for what the platform shows and decides. An account whose time was changed has a clock of
    its own from then on."""

    def __init__(self, frozen: Optional[float] = None) -> None:
        self._start = AccountClock(frozen=frozen)
        self._common = replace(self._start)
        self._account_clocks: dict[str, AccountClock] = {}
        self._changes = 0
        #: The number and the owner of the newest change of all accounts' time; None since it was reset.
        self.shared_change: Optional[tuple[int, str]] = None

    def time(self) -> float:
        """Seconds since the epoch, by the time of the current account (`current_account.py`)."""
        if self._account_clocks:
            return self._current().time()
        common = self._common  # not by a call, because a request needs the time a dozen times
        return time.time() + common.offset if common.frozen is None else common.frozen

    def timestamp(self) -> str:
        """The time of the current account in RFC 3339."""
        return rfc3339(self.time())

    def stopwatch(self) -> float:
        """Seconds, for differences. They are real while the time is not frozen, because advancing it does not make a
        command take longer; frozen, nothing takes any time, so that a run can be repeated."""
        return self._current().stopwatch()

    def _current(self) -> AccountClock:
        if not self._account_clocks:
            return self._common
        return self._account_clocks.get(current_account.current(), self._common)

    # --- for tests. `account`: an id, or ALL_ACCOUNTS

    def now(self, account: str) -> tuple[float, bool]:
        """Epoch seconds of an account's time, and whether it is frozen."""
        clock = self._account_clocks.get(account, self._common)
        return clock.time(), clock.frozen is not None

    def latest(self, account: str) -> float:
        """Epoch seconds of the clock that is furthest ahead, of those that a change of this account's time changes."""
        if account == current_account.ALL_ACCOUNTS:
            return max(clock.time() for clock in [self._common, *self._account_clocks.values()])
        return self.now(account)[0]

    def freeze(self, account: str, at: Optional[float] = None) -> None:
        """Freeze the time, now or at the epoch second `at`."""
        for clock in self._clocks_of(account):
            clock.freeze(at)
        self._note_change(account)

    def unfreeze(self, account: str) -> None:
        """Let the time go on from where it was frozen."""
        for clock in self._clocks_of(account):
            clock.unfreeze()
        self._note_change(account)

    def advance(self, account: str, seconds: float) -> None:
        """Advance the clock only; `platform.scheduler` does what becomes due by that."""
        for clock in self._clocks_of(account):
            clock.advance(seconds)
        self._note_change(account)

    def reset(self, account: str) -> None:
        """Return to the emulator's own time, as it was at the start."""
        if account == current_account.ALL_ACCOUNTS:
            self._account_clocks.clear()
            self._common = replace(self._start)
            self.shared_change = None
        else:
            self._account_clocks.pop(account, None)

    def state(self) -> dict[str, list[Optional[float]]]:
        """The clocks as JSON, for `restore`: (offset, frozen) by account; empty while no time was changed."""
        clocks = {current_account.ALL_ACCOUNTS: self._common, **self._account_clocks}
        found = {name: [clock.offset, clock.frozen] for name, clock in clocks.items()}
        return found if found != {current_account.ALL_ACCOUNTS: [0.0, None]} else {}

    def restore(self, state: Optional[dict[str, list[Optional[float]]]]) -> None:
        """Restore clocks: a frozen one is frozen at the same time, another one is as far ahead as it was."""
        for name, (offset, frozen) in (state or {}).items():
            clock = AccountClock(offset=offset or 0.0, frozen=frozen)
            if name == current_account.ALL_ACCOUNTS:
                self._common = clock
            else:
                self._account_clocks[name] = clock

    def _note_change(self, account: str) -> None:
        if account == current_account.ALL_ACCOUNTS:
            self._changes += 1
            self.shared_change = (self._changes, current_account.current_owner())

    def _clocks_of(self, account: str) -> list[AccountClock]:
        if account == current_account.ALL_ACCOUNTS:
            return [self._common, *self._account_clocks.values()]
        return [self._account_clocks.setdefault(account, replace(self._common))]


def rfc3339(seconds: float) -> str:
    """Format a time in UTC with milliseconds: 2026-01-31T12:00:00.000Z. A time outside of 1970 to 9999, as a file may
    have, becomes the nearest that the format can hold."""
    if not 0.0 <= seconds <= _LATEST:
        seconds = min(max(0.0, seconds), _LATEST)
    whole = int(seconds)
    return f"{_to_the_second(whole)}.{int((seconds - whole) * 1000):03d}Z"


@functools.lru_cache(maxsize=16)  # each request needs it, and many come within a second
def _to_the_second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S")


_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII)


def from_rfc3339(text: str) -> float:
    """Parse a time to seconds since the epoch. Raises ValueError unless it has a date, a time and an offset."""
    found = _RFC3339.fullmatch(text)
    if found is None:
        raise ValueError("must be an RFC 3339 time like 2026-01-31T12:00:00Z")
    whole, fraction, offset = found.groups()
    moment = datetime.fromisoformat(whole + ("+00:00" if offset == "Z" else offset))
    return moment.timestamp() + float(fraction or 0)
