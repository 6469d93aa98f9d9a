"""Waiting in tests: for a condition, and never for a time."""

from __future__ import annotations

import time
from typing import Any, Callable, Union


def eventually(look: Callable[[], Any], what: Union[str, Callable[[], object]], seconds: float = 60.0) -> Any:
    """Return the first true result of a function, which is called again and again.

    Args:
        look: The function.
        what: What is waited for, for the message of a failure; or a function that returns it.
        seconds: The time after which the wait fails.
    """
    begun = time.monotonic()
    while True:
        found = look()
        if found:
            return found
        passed = time.monotonic() - begun
        if passed >= seconds:
            raise AssertionError(f"waited {seconds:g} s for {what if isinstance(what, str) else what()}")
        time.sleep(min(max(0.002, passed / 5), 0.1))  # less often as it takes longer: each look costs CPU time
