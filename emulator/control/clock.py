"""The one source of time of an emulator, which a test may stop and move, for its own account or for all."""

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
#: Where a seeded emulator's clock stands at the start: 2026-01-01T00:00:00Z.
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
class Dial:
    """One clock hand. `frozen`: the epoch second it stands at; else it is `offset` seconds ahead of real time.
    `stood`: seconds for which it was frozen, up to now or to `since`, when it was frozen last (of perf_counter)."""

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
    """Everything the platform shows or decides by time asks here and nowhere else. Real time, until somebody moves it;
    an account whose time was moved has a dial of its own from then on."""

    def __init__(self, frozen: Optional[float] = None) -> None:
        self._start = Dial(frozen=frozen)
        self._common = replace(self._start)
        self._dials: dict[str, Dial] = {}

    def time(self) -> float:
        """Seconds since the epoch, as the account that is being worked for has them."""
        return self._dial().time()

    def timestamp(self) -> str:
        return rfc3339(self.time())

    def stopwatch(self) -> float:
        """Seconds, for differences. Real ones as long as time is not frozen: how long a command took is no matter of
        what a test says that the time is. Frozen, nothing takes any time, so that a run can be repeated."""
        return self._dial().stopwatch()

    def _dial(self) -> Dial:
        if not self._dials:
            return self._common
        return self._dials.get(current_account.current(), self._common)

    # --- for tests. `account`: an id, or scope.EVERYBODY

    def now(self, account: str) -> tuple[float, bool]:
        """(epoch seconds, whether it stands)."""
        dial = self._dials.get(account, self._common)
        return dial.time(), dial.frozen is not None

    def latest(self, account: str) -> float:
        """Epoch seconds of the dial that is ahead of the others, of those that moving this account's would move."""
        if account == current_account.ALL_ACCOUNTS:
            return max(dial.time() for dial in [self._common, *self._dials.values()])
        return self.now(account)[0]

    def freeze(self, account: str, at: Optional[float] = None) -> None:
        """Time stands, now or at the epoch second `at`."""
        for dial in self._moved(account):
            dial.freeze(at)

    def unfreeze(self, account: str) -> None:
        """Time goes on from where it stands."""
        for dial in self._moved(account):
            dial.unfreeze()

    def advance(self, account: str, seconds: float) -> None:
        """Only the dial: what becomes due by it is for `platform.scheduler` to see."""
        for dial in self._moved(account):
            dial.advance(seconds)

    def reset(self, account: str) -> None:
        """As it was at the start: the emulator's own time."""
        if account == current_account.ALL_ACCOUNTS:
            self._dials.clear()
            self._common = replace(self._start)
        else:
            self._dials.pop(account, None)

    def state(self) -> dict[str, list[Optional[float]]]:
        """As JSON, for `restore`: (offset, frozen) by account; empty as long as nobody has moved it."""
        dials = {current_account.ALL_ACCOUNTS: self._common, **self._dials}
        found = {name: [dial.offset, dial.frozen] for name, dial in dials.items()}
        return found if found != {current_account.ALL_ACCOUNTS: [0.0, None]} else {}

    def restore(self, state: Optional[dict[str, list[Optional[float]]]]) -> None:
        """As it was when that was written: what stood still stands, what ran ahead is as far ahead as it was."""
        for name, (offset, frozen) in (state or {}).items():
            dial = Dial(offset=offset or 0.0, frozen=frozen)
            if name == current_account.ALL_ACCOUNTS:
                self._common = dial
            else:
                self._dials[name] = dial

    def _moved(self, account: str) -> list[Dial]:
        if account == current_account.ALL_ACCOUNTS:
            return [self._common, *self._dials.values()]
        return [self._dials.setdefault(account, replace(self._common))]


def rfc3339(seconds: float) -> str:
    """UTC with milliseconds: 2026-01-31T12:00:00.000Z. What the format cannot hold (a file may claim any time)
    is shown as the nearest that it can: 1970 to 9999."""
    whole, fraction = divmod(min(max(0.0, seconds), _LATEST), 1)
    return f"{_to_the_second(int(whole))}.{int(fraction * 1000):03d}Z"


@functools.lru_cache(maxsize=16)  # every request asks, and many within a second
def _to_the_second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S")


_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII)


def from_rfc3339(text: str) -> float:
    """Seconds since the epoch. ValueError for anything but a full date, time and offset."""
    found = _RFC3339.fullmatch(text)
    if found is None:
        raise ValueError("must be an RFC 3339 time like 2026-01-31T12:00:00Z")
    whole, fraction, offset = found.groups()
    moment = datetime.fromisoformat(whole + ("+00:00" if offset == "Z" else offset))
    return moment.timestamp() + float(fraction or 0)
