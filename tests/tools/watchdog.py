"""Time limits of tests, kept by one thread.

pytest-timeout starts and ends a thread for each test, which takes as long as half of the small tests. Its hooks let
another place keep the time; what happens when it is over is the same.
"""

from __future__ import annotations

import threading
import time
from typing import Any, Optional

import pytest
import pytest_timeout

#: How late a limit may be noticed.
SECONDS = 1.0


class Watchdog:
    """A plugin of pytest that ends the process, with the stacks of all threads, when a test takes too long."""

    def __init__(self) -> None:
        self._limit: Optional[tuple[float, pytest.Item, Any]] = None  # replaced as a whole: two threads use it
        self._thread: Optional[threading.Thread] = None

    @pytest.hookimpl
    def pytest_timeout_set_timer(self, item: pytest.Item, settings: Any) -> bool:
        self._limit = (time.monotonic() + settings.timeout, item, settings)
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
            self._thread.start()
        return True

    @pytest.hookimpl
    def pytest_timeout_cancel_timer(self, item: pytest.Item) -> bool:
        self._limit = None
        return True

    def _watch(self) -> None:
        while True:
            time.sleep(SECONDS)
            limit = self._limit
            if limit is not None and time.monotonic() > limit[0]:
                pytest_timeout.timeout_timer(limit[1], limit[2])
