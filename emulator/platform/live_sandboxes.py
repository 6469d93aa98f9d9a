"""What a sandbox has only while its emulator runs: processes, locks, calls in progress. The store holds its data."""

from __future__ import annotations

import asyncio
import weakref
from typing import Optional

from ..cage.cage import Cage
from ..store import Sandbox


class LiveSandbox:
    """Made on the emulator's loop, to which its locks belong.

    Attributes:
        cage: The sandbox's processes and files; None until they are started.
        state_lock: Held by a pause or resume: one change of state at a time.
        workspace_lock: Held by what needs the workspace to hold still (snapshot, restore, pause, start) and by writes.
        gone: Set when the processes are gone for good: destroyed, or killed from outside.
        agent_lock: Held by an agent's session: one at a time.
        calls: Calls in progress that keep the sandbox from being idle.
    """

    def __init__(self) -> None:
        self.cage: Optional[Cage] = None
        self.state_lock = asyncio.Lock()
        self.workspace_lock = asyncio.Lock()
        self.gone = asyncio.Event()
        self.agent_lock = asyncio.Lock()
        self.calls = 0


class LiveSandboxes:
    """The live parts of all sandboxes, by the sandbox's id. Used on the emulator's loop."""

    def __init__(self) -> None:
        self._live: dict[str, tuple[LiveSandbox, weakref.ref[Sandbox]]] = {}

    def of(self, sandbox: Sandbox) -> LiveSandbox:
        """The live part of a sandbox, made when it is first needed."""
        found = self._live.get(sandbox.id)
        if found is not None:
            return found[0]
        live, sandbox_id = LiveSandbox(), sandbox.id
        if sandbox.status == "destroyed":
            live.gone.set()  # for a call that looks after `drop`
        # Such a late entry goes with the record, so that none is kept.
        self._live[sandbox_id] = (live, weakref.ref(sandbox, lambda _: self._live.pop(sandbox_id, None)))
        return live

    def has(self, sandbox_id: str) -> bool:
        """Whether a sandbox has a live part: a destroyed one has until its files are removed."""
        return sandbox_id in self._live

    def drop(self, sandbox: Sandbox) -> None:
        """Forget a destroyed sandbox. Calls in progress keep the object that they have."""
        self._live.pop(sandbox.id, None)

    def __len__(self) -> int:
        return len(self._live)
