"""The time that a run of checks, and each check in it, may take."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Optional

from .errors import Mismatch


class TimeBudget:
    """The time limits of one run.

    Args:
        limit: Seconds that each check may take.
        total: Seconds that the run may take.
    """

    def __init__(self, limit: float, total: float) -> None:
        self.limit = limit
        self._end = time.monotonic() + total
        self._check_end = self._end

    def begin(self, limit: Optional[float] = None) -> None:
        """Start the time of the next check.

        Args:
            limit: Seconds for this check; None means the limit of all checks.
        """
        self._check_end = time.monotonic() + (self.limit if limit is None else limit)

    @property
    def exhausted(self) -> bool:
        """Whether the time of the whole run is used up."""
        return time.monotonic() >= self._end

    def remaining(self) -> float:
        """Return the seconds that are left to the current check, more than 0.

        Raises:
            Mismatch: No time is left.
        """
        left = min(self._check_end, self._end) - time.monotonic()
        if left <= 0:
            raise Mismatch(f"an answer within {self.limit:g} s", "none yet")
        return left

    @contextmanager
    def extra_time(self, seconds: float) -> Iterator[None]:
        """Give the block a limit of its own, and do not count its duration against the check."""
        began, check_end = time.monotonic(), self._check_end
        self._check_end = began + seconds
        try:
            yield
        finally:
            self._check_end = check_end + time.monotonic() - began
