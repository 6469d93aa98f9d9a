"""A sandbox as one object, for asyncio."""

from __future__ import annotations

from .._naming import public
from .agents import AsyncAgents
from .commands import AsyncCommands
from .files import AsyncFiles
from .lifecycle import AsyncLifecycle
from .processes import AsyncProcesses
from .snapshots import AsyncWorkspaceSnapshots
from .transfers import AsyncTransfers
from .waiting import AsyncWaiting


@public
class AsyncBoundSandbox(
    AsyncCommands,
    AsyncProcesses,
    AsyncWaiting,
    AsyncLifecycle,
    AsyncFiles,
    AsyncTransfers,
    AsyncWorkspaceSnapshots,
    AsyncAgents,
):
    """The attributes, methods, results and errors of `BoundSandbox`, awaited."""
