"""A sandbox as one object, for asyncio."""

from __future__ import annotations

from .._naming import public
from .commands import AsyncCommands
from .lifecycle import AsyncLifecycle


@public
class AsyncBoundSandbox(AsyncCommands, AsyncLifecycle):
    """The attributes, methods, results and errors of `BoundSandbox`, awaited."""
