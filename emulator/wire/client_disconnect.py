"""Work that ends when the client who asked for it goes away."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from starlette.requests import ClientDisconnect, Request

T = TypeVar("T")


async def unless_hung_up(request: Request, work: Awaitable[T]) -> T:
    """The result of `work`, which is cancelled when the client goes away first. Raises ClientDisconnect then."""
    me = asyncio.current_task()
    assert me is not None
    watcher = asyncio.ensure_future(_hung_up(request))
    gone = over = False

    def cancel(_: object) -> None:
        nonlocal gone
        if not watcher.cancelled() and not over:  # it may have been on its way here when the work ended
            gone = True
            me.cancel()

    watcher.add_done_callback(cancel)
    try:
        return await work
    except asyncio.CancelledError:
        if gone:
            raise ClientDisconnect from None
        raise
    finally:
        over = True
        watcher.remove_done_callback(cancel)
        watcher.cancel()


async def _hung_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
