"""Work that ends when the client that requested it disconnects."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Callable, Protocol, TypeVar

from starlette.requests import ClientDisconnect, Request

T = TypeVar("T")
#: The key of a scope that holds what knows of the client's end; `http_protocol.py` sets it. Where there is none (a call
#: from within this process), a task has to wait for the message.
CONNECTION = "caged.connection"


class Connection(Protocol):
    """A client's connection."""

    def listen_for_disconnect(self, listener: Callable[[], None]) -> None:
        """Call `listener` when the client disconnects; soon, if it has."""

    def ignore_disconnect(self, listener: Callable[[], None]) -> None:
        """Call `listener` no more."""


async def cancel_on_disconnect(request: Request, work: Awaitable[T]) -> T:
    """Run `work`, and cancel it when the client disconnects first.

    Returns:
        The result of `work`.

    Raises:
        ClientDisconnect: The client disconnected.
    """
    task = asyncio.current_task()
    assert task is not None
    connection: Connection = request.scope.get(CONNECTION) or _Messages(request)
    is_disconnected = is_over = False

    def cancel() -> None:
        nonlocal is_disconnected
        if not is_over:  # this may be scheduled when the work ends
            is_disconnected = True
            task.cancel()

    connection.listen_for_disconnect(cancel)
    try:
        return await work
    except asyncio.CancelledError:
        if is_disconnected:
            raise ClientDisconnect from None
        raise
    finally:
        is_over = True
        connection.ignore_disconnect(cancel)


class _Messages:
    """A connection that only reports by a message that the client has disconnected."""

    def __init__(self, request: Request) -> None:
        self._request = request

    def listen_for_disconnect(self, listener: Callable[[], None]) -> None:
        self._watcher = asyncio.ensure_future(self._until_disconnected())
        self._watcher.add_done_callback(lambda watcher: None if watcher.cancelled() else listener())

    def ignore_disconnect(self, listener: Callable[[], None]) -> None:
        self._watcher.cancel()

    async def _until_disconnected(self) -> None:
        while (await self._request.receive())["type"] != "http.disconnect":
            pass
