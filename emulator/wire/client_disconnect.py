"""Work that ends when the client that requested it disconnects."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from starlette.requests import ClientDisconnect, Request

T = TypeVar("T")


async def cancel_on_disconnect(request: Request, work: Awaitable[T]) -> T:
    """Run `work`, and cancel it when the client disconnects first.

    Returns:
        The result of `work`.

    Raises:
        ClientDisconnect: The client disconnected.
    """
    task = asyncio.current_task()
    assert task is not None
    watcher = asyncio.ensure_future(_until_disconnected(request))
    is_disconnected = is_over = False

    def cancel(_: object) -> None:
        nonlocal is_disconnected
        if not watcher.cancelled() and not is_over:  # this callback may be scheduled when the work ends
            is_disconnected = True
            task.cancel()

    watcher.add_done_callback(cancel)
    try:
        return await work
    except asyncio.CancelledError:
        if is_disconnected:
            raise ClientDisconnect from None
        raise
    finally:
        is_over = True
        watcher.remove_done_callback(cancel)
        watcher.cancel()


async def _until_disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
