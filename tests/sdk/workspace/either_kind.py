"""The same coroutine function for a client of either kind."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any


async def result(value: Any) -> Any:
    """What a call has returned, awaited if it was that of an asynchronous client."""
    return await value if inspect.isawaitable(value) else value


@asynccontextmanager
async def opened(client: Any, **options: Any) -> AsyncIterator[Any]:
    """``client.sandboxes.open(...)``, entered."""
    manager = client.sandboxes.open(**options)
    if hasattr(type(manager), "__aenter__"):
        async with manager as box:
            yield box
    else:
        with manager as box:
            yield box


async def items(values: Any) -> AsyncIterator[Any]:
    """The items of an iterator of either kind."""
    if hasattr(values, "__aiter__"):
        async for value in values:
            yield value
    else:
        for value in values:
            yield value
