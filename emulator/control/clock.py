"""The one source of time of an emulator."""

from __future__ import annotations

import functools
import re
import time
from datetime import datetime, timezone

_LATEST = 253402300799.0  # the last second of 9999


class Clock:
    """Wall-clock time. Everything the platform shows or decides by time asks here and nowhere else."""

    def time(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def timestamp(self) -> str:
        return rfc3339(self.time())


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
