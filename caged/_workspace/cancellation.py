"""Work for asyncio that a cancellation does not interrupt."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Optional, TypeVar

T = TypeVar("T")


async def completed(
    work: Coroutine[Any, Any, T], patience: Optional[float] = None
) -> tuple[asyncio.Task[T], Optional[asyncio.CancelledError]]:
    """Run a coroutine to its end, also when the caller is cancelled meanwhile.

    It has a task of its own: scopes of other libraries cancel a task again and again.

    Args:
        patience: Seconds that it may take after the first cancellation; None means no limit. Then it is cancelled.

    Returns:
        Its task, which is done, and the cancellation of the caller, which the caller raises: libraries know theirs by
        what it holds.
    """
    task = asyncio.ensure_future(work)
    end: Optional[asyncio.TimerHandle] = None
    cancellation: Optional[asyncio.CancelledError] = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            if cancellation is None and patience is not None:
                end = asyncio.get_running_loop().call_later(patience, task.cancel)
            cancellation = cancellation or error
    if end is not None:
        end.cancel()
    return task, cancellation


async def uninterrupted(work: Coroutine[Any, Any, T], patience: Optional[float] = None) -> T:
    """Run a coroutine to its end, as `completed` does. A caller that was cancelled meanwhile is cancelled then."""
    task, cancellation = await completed(work, patience)
    if cancellation is not None:
        if not task.cancelled():
            task.exception()  # seen
        raise cancellation
    return task.result()
