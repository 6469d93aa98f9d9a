"""What happens to a sandbox by itself: it falls asleep when idle and stops at its budget."""

from __future__ import annotations

import asyncio

from ..store import Sandbox
from . import cost
from .refusal import Refusal
from .sandboxes import Sandboxes
from .services import Services

INTERVAL = 0.25


class Watch:
    def __init__(self, services: Services, sandboxes: Sandboxes) -> None:
        self._services = services
        self._sandboxes = sandboxes

    async def run(self) -> None:
        while True:
            await asyncio.sleep(INTERVAL)
            await self.look()

    async def look(self) -> None:
        """One look at every running sandbox, by the emulator's clock."""
        for sandbox in list(self._services.store.sandboxes.values()):
            if sandbox.status == "running":
                try:
                    await self._look_at(sandbox)
                except Refusal:
                    pass  # it changed its state while we looked
                except Exception as error:
                    self._services.log(f"looking after {sandbox.id} failed: {error!r}")  # the others need us still

    async def _look_at(self, sandbox: Sandbox) -> None:
        now = self._services.clock.time()
        reached, used_up = cost.newly_reached(sandbox, now)
        for mark in reached:
            self._services.note(sandbox, f"{mark}% of the budget of ${sandbox.budget:.2f} is used", "budget")
        if used_up:
            self._services.note(sandbox, f"the budget of ${sandbox.budget:.2f} is used up", "budget")
            if self._services.config.budget_action == "destroy":
                await self._sandboxes.destroy(sandbox)
            else:
                await self._sandboxes.pause(sandbox, "paused: budget used up")
        elif not sandbox.busy and now - sandbox.last_active >= sandbox.timeout:
            await self._sandboxes.pause(sandbox, f"paused after {sandbox.timeout} s without activity")
