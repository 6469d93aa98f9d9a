"""Finding sandboxes, and the calls that keep one from being idle."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Optional

from ..cage.cage import Cage
from ..control.clock import Clock
from ..store import AccountRecord, LogEntry, Sandbox, Store
from . import limits
from .errors import not_found, not_running
from .live_sandboxes import LiveSandbox, LiveSandboxes
from .observation import is_observing


class Sandboxes:
    def __init__(self, store: Store, clock: Clock, live: LiveSandboxes) -> None:
        self._store = store
        self._clock = clock
        self._live = live

    def get(self, account: AccountRecord, sandbox_id: str) -> Sandbox:
        """404 for an unknown, a destroyed, or another account's sandbox."""
        sandbox = self._store.sandboxes.get(sandbox_id)
        if sandbox is None or sandbox.account_id != account.id:
            raise not_found("sandbox", sandbox_id)
        return sandbox

    def of_any(self, sandbox_id: str) -> Sandbox:
        """A sandbox of any account, for an administrator. 404 for an unknown one."""
        sandbox = self._store.sandboxes.get(sandbox_id)
        if sandbox is None:
            raise not_found("sandbox", sandbox_id)
        return sandbox

    def running(self, account: AccountRecord, sandbox_id: str) -> Sandbox:
        """404 as `get`; 409 when it is not running."""
        sandbox = self.get(account, sandbox_id)
        if sandbox.status != "running":
            raise not_running(sandbox.id, sandbox.status)
        return sandbox

    def of(self, account: AccountRecord) -> list[Sandbox]:
        """The account's sandboxes, oldest first."""
        return [box for box in self._store.sandboxes.values() if box.account_id == account.id]

    def logs(self, sandbox: Sandbox, tail: Optional[int]) -> list[LogEntry]:
        """The newest lines of a sandbox's log: `limits.LOGS_DEFAULT` without `tail`, at most `limits.LOGS_MOST`."""
        count = limits.LOGS_DEFAULT if tail is None or tail <= 0 else min(tail, limits.LOGS_MOST)
        return sandbox.logs[-count:]

    def running_cage(self, sandbox: Sandbox) -> Cage:
        """The processes and files of a running sandbox. 404 for a destroyed one, 409 in any other state."""
        cage = self._live.of(sandbox).cage
        if sandbox.status != "running" or cage is None:
            raise not_running(sandbox.id, sandbox.status)
        return cage

    @asynccontextmanager
    async def use_cage(self, account: AccountRecord, sandbox_id: str) -> AsyncIterator[Cage]:
        """The cage of a running sandbox, for a call that keeps it from being idle. 404, 409."""
        sandbox = self.get(account, sandbox_id)
        cage = self.running_cage(sandbox)
        async with self.active(sandbox):
            yield cage

    def active(self, sandbox: Sandbox) -> _Activity:
        """Keep the sandbox from being idle during a block of `async with`."""
        return _Activity(sandbox, self._live.of(sandbox), self._clock)


class _Activity:
    """A call that keeps a sandbox from being idle. A class, because each command needs one, and a generator takes many
    times as long."""

    __slots__ = ("_clock", "_live", "_sandbox")

    def __init__(self, sandbox: Sandbox, live: LiveSandbox, clock: Clock) -> None:
        self._sandbox, self._live, self._clock = sandbox, live, clock

    async def __aenter__(self) -> None:
        self._live.calls += 1

    async def __aexit__(self, *_: object) -> None:
        self._live.calls -= 1
        if not is_observing():
            self._sandbox.last_active = self._clock.time()
