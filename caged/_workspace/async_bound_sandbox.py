"""A sandbox as one object, for asyncio."""

from __future__ import annotations

from .._naming import public
from .commands import AsyncCommands
from .files import AsyncFiles
from .lifecycle import AsyncLifecycle


@public
class AsyncBoundSandbox(AsyncCommands, AsyncLifecycle, AsyncFiles):
    """The attributes, methods, results and errors of `BoundSandbox`, awaited."""
