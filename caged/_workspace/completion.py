"""Work for asyncio that a cancellation does not interrupt."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Optional, TypeVar

T = TypeVar("T")


async def completed(work: Coroutine[Any, Any, T], patience: Optional[float] = None) -> tuple[asyncio.Task[T], bool]:
    """Run a coroutine to its end, also when the caller is cancelled meanwhile.

    It has a task of its own: scopes of other libraries cancel a task again and again.

    Args:
        patience: Seconds that it may take after the first cancellation; None means no limit. Then it is cancelled.

    Returns:
        Its task, which is done, and whether the caller was cancelled, which the caller raises then.
    """
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    end: Optional[asyncio.TimerHandle] = None
    cancelled = False
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            if end is None and patience is not None:
                end = loop.call_later(patience, task.cancel)
            cancelled = True
    if end is not None:
        end.cancel()
    return task, cancelled


async def uninterrupted(work: Coroutine[Any, Any, T], patience: Optional[float] = None) -> T:
    """Run a coroutine to its end, as `completed` does. A caller that was cancelled meanwhile is cancelled then."""
    task, cancelled = await completed(work, patience)
    if task.cancelled():
        raise asyncio.CancelledError
    error = task.exception()
    if cancelled:
        raise asyncio.CancelledError
    if error is not None:
        raise error
    return task.result()
