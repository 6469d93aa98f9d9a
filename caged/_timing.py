"""The clock and the sleeps of the SDK; tests replace these three functions."""

from __future__ import annotations

import time


def now() -> float:
    """Seconds on a clock that never runs backwards."""
    return time.monotonic()


def sleep(seconds: float) -> None:
    time.sleep(seconds)


async def sleep_async(seconds: float) -> None:
    import asyncio  # only async programs pay for it, and they have it already

    await asyncio.sleep(seconds)
