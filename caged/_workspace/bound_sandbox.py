"""A sandbox as one object, blocking."""

from __future__ import annotations

from .._naming import public
from .agents import Agents
from .commands import Commands
from .files import Files
from .lifecycle import Lifecycle
from .processes import Processes
from .snapshots import WorkspaceSnapshots
from .transfers import Transfers
from .waiting import Waiting


@public
class BoundSandbox(
    Commands,
    Processes,
    Waiting,
    Lifecycle,
    Files,
    Transfers,
    WorkspaceSnapshots,
    Agents,
):
    """One sandbox: what `Caged` can do with it, and helpers over that.

    Made by ``caged.sandboxes.open(...)``, which creates the sandbox and destroys it at the end of a ``with`` block, or
    by ``caged.sandboxes.bind(sandbox_id)``. Threads may share one.

    The fields of `Sandbox` are attributes of it, too, as the API last answered: `info` updates them.

    Attributes:
        id: The sandbox's.
        keep: Whether it lives on after the ``with`` block that opened it; may be set in the block.
    """
