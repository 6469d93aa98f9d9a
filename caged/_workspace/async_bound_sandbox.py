"""A sandbox as one object, for asyncio."""

from __future__ import annotations

from .._naming import public
from .commands import AsyncCommands
from .files import AsyncFiles
from .lifecycle import AsyncLifecycle
from .snapshots import AsyncWorkspaceSnapshots
from .transfers import AsyncTransfers


@public
class AsyncBoundSandbox(AsyncCommands, AsyncLifecycle, AsyncFiles, AsyncTransfers, AsyncWorkspaceSnapshots):
    """The attributes, methods, results and errors of `BoundSandbox`, awaited."""
