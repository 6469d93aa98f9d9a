"""What happens to a sandbox by itself: it falls asleep when idle and stops at its budget."""

from __future__ import annotations

import asyncio
import logging
import math
from typing import Callable, Optional

from ..control.current_account import ALL_ACCOUNTS, acting_for
from ..store import Sandbox, Session
from . import cost
from .errors import ApiError
from .sandboxes import Sandboxes
from .services import Services

logger = logging.getLogger(__name__)

INTERVAL = 0.25
#: In place of an account, for what belongs to none: it goes by the emulator's own clock.
NO_ACCOUNT = ""
#: How often a sandbox's disk is measured, when something happened in it since.
DISK_INTERVAL = 5.0
#: Moving the clock stops so often at most, and goes so many seconds each time at least.
_MOST_STOPS = 1000
_LEAST_STEP = 0.001
#: So long the command that has asked an agent may take to end after the answer.
_DELIVERY_SECONDS = 2.0


class Scheduler:
    def __init__(self, services: Services, sandboxes: Sandboxes) -> None:
        self._services = services
        self._sandboxes = sandboxes
        self._looking: set[str] = set()
        self._begun: set[asyncio.Task[None]] = set()
        #: When a sandbox's newest agent has answered, by the loop's time.
        self._answered: dict[str, float] = {}
        services.signals.connect("session_ended", self._session_ended)
        #: What else is to be looked at each time; must not wait.
        self.also: list[Callable[[], None]] = []
        #: Seconds until something becomes due in a sandbox by that.
        self.also_due: list[Callable[[Sandbox, float], list[float]]] = []

    def _session_ended(self, sandbox: Sandbox, session: Session) -> None:
        if sandbox.status == "running":
            self._answered[sandbox.id] = asyncio.get_running_loop().time()

    def _delivering(self, sandbox: Sandbox) -> bool:
        """Whether an agent's answer may still be on its way to who asked: a command that is frozen between the answer
        and its own end would never end, when the answer has used up the budget."""
        answered = self._answered.get(sandbox.id)
        if answered is None:
            return False
        if sandbox.busy and asyncio.get_running_loop().time() - answered < _DELIVERY_SECONDS:
            return True
        del self._answered[sandbox.id]
        return False

    async def run(self) -> None:
        while True:
            await asyncio.sleep(INTERVAL)
            for sandbox in self._due():
                # One that has to wait, for a snapshot of a large workspace say, must not hold up the others.
                task = self._services.in_background(self._look_unless_delivering(sandbox))
                self._begun.add(task)
                task.add_done_callback(self._begun.discard)
            self._look_further()

    async def _look_unless_delivering(self, sandbox: Sandbox) -> None:
        if not self._delivering(sandbox):
            await self._look(sandbox)

    async def advance(self, account_id: str, seconds: float) -> None:
        """Moves an account's clock (or everybody's) on, stopping at each moment at which a sandbox falls asleep or
        meets a mark of its budget, so that everything happens when it would have. Returns when it has happened."""
        clock = self._services.clock
        rest = seconds
        for _ in range(_MOST_STOPS):
            step = min(self._until_due(account_id), rest)
            clock.advance(account_id, step)
            await self.look(account_id)
            rest -= step
            if rest <= 0:
                return
        clock.advance(account_id, rest)
        await self.look(account_id)

    def freeze(self, account_id: str, at: Optional[float]) -> None:
        """Stops an account's clock, now or at the epoch second `at`. Setting it is no passing of time: sandboxes have
        not been running or idle for longer by it."""
        self._set(account_id, lambda: self._services.clock.freeze(account_id, at))

    def reset(self, account_id: str) -> None:
        """The emulator's own time again; that, too, is no passing of time, forwards or backwards."""
        self._set(account_id, lambda: self._services.clock.reset(account_id))

    def _set(self, account_id: str, change: Callable[[], None]) -> None:
        clock, store = self._services.clock, self._services.store
        names = [account_id] if account_id != ALL_ACCOUNTS else [NO_ACCOUNT, *store.accounts]
        before = {name: clock.now(name)[0] for name in names}
        change()
        for name in names:
            shift = clock.now(name)[0] - before[name]
            for sandbox in store.sandboxes.values():
                if sandbox.account_id == name:
                    _shift(sandbox, shift)
            self._services.signals.send("clock_set", account_id=name, seconds=shift)

    async def spend(self, sandbox: Sandbox, usd: float) -> None:
        """Its agents have spent that much; what follows from it has happened on return."""
        sandbox.spent_llm += usd
        await self.look(sandbox.account_id)

    def _until_due(self, account_id: str) -> float:
        """Seconds until something happens by itself to one of the account's running sandboxes."""
        waits = [math.inf]
        for sandbox in self._services.store.sandboxes.values():
            if sandbox.status == "running" and account_id in (sandbox.account_id, ALL_ACCOUNTS):
                now = self._services.clock.now(sandbox.account_id)[0]
                if not sandbox.busy:
                    waits.append(sandbox.last_active + sandbox.timeout - now)
                waits += cost.until_marks(sandbox, now)
                for due in self.also_due:
                    with acting_for(sandbox.account_id):
                        waits += due(sandbox, now)
        return max(min(waits), _LEAST_STEP)

    async def look(self, account_id: str = ALL_ACCOUNTS) -> None:
        """One look at every sandbox of an account, by its clock, to its end."""
        await self._finish_begun()  # they may have begun by an earlier time
        mine = [box for box in self._due() if account_id in (box.account_id, ALL_ACCOUNTS)]
        await asyncio.gather(*(self._look(sandbox) for sandbox in mine))
        await self._finish_begun()
        self._look_further()

    def _look_further(self) -> None:
        for look in self.also:
            try:
                look()
            except Exception:
                logger.exception("scheduled work failed")

    async def _finish_begun(self) -> None:
        if self._begun:
            await asyncio.wait(set(self._begun))

    def _due(self) -> list[Sandbox]:
        boxes = self._services.store.sandboxes.values()
        return [box for box in boxes if _can_change(box) and box.id not in self._looking]

    async def _look(self, sandbox: Sandbox) -> None:
        self._looking.add(sandbox.id)
        with acting_for(sandbox.account_id):
            try:
                await self._look_at(sandbox)
            except ApiError:
                pass  # it changed its state while we looked
            except Exception:
                logger.exception("scheduled work for %s failed", sandbox.id)
            finally:
                self._looking.discard(sandbox.id)

    async def _look_at(self, sandbox: Sandbox) -> None:
        now = self._services.clock.time()
        reached, used_up = cost.newly_reached(sandbox, now)
        for mark in reached:
            self._told(sandbox, f"{mark}% of the budget of ${sandbox.budget:.2f} is used", mark, now)
        if used_up:
            if 100 not in sandbox.budget_told:
                sandbox.budget_told.add(100)
                self._told(sandbox, f"the budget of ${sandbox.budget:.2f} is used up", 100, now)
            if self._services.config.budget_action == "destroy":
                await self._sandboxes.destroy(sandbox)
            elif sandbox.status == "running":
                await self._sandboxes.pause(sandbox, "paused: budget used up", "budget")
        if used_up or sandbox.status != "running":
            return
        if self._services.config.limits and now - sandbox.disk_looked >= DISK_INTERVAL:
            await self._look_at_disk(sandbox, now)
            now = self._services.clock.time()  # it may have been set while the disk was measured
            if sandbox.status != "running":
                return
        if not sandbox.busy and now - sandbox.last_active >= sandbox.timeout:
            await self._sandboxes.pause(sandbox, f"paused after {sandbox.timeout} s without activity", "idle_timeout")
            self._services.signals.send("idle_timeout", sandbox=sandbox)

    def _told(self, sandbox: Sandbox, message: str, percent: int, now: float) -> None:
        spent = cost.total(sandbox, now)
        self._services.happened(sandbox, "budget", message, "budget", percent=percent, spent=round(spent, 6))
        self._services.signals.send("budget_told", sandbox=sandbox, percent=percent, spent=spent)

    async def _look_at_disk(self, sandbox: Sandbox, now: float) -> None:
        """Nothing in the kernel holds a directory to a size for an ordinary user, so it is watched and told."""
        if not sandbox.busy and sandbox.last_active <= sandbox.disk_looked:
            return
        sandbox.disk_looked = now
        assert sandbox.cage is not None
        used = await sandbox.cage.disk_usage()
        if sandbox.status == "destroyed":
            return
        over = used > sandbox.disk_gb * 1024**3
        if over and not sandbox.disk_told:
            self._services.failed(sandbox, f"{used / 1024**3:.2f} GB on disk, disk_gb is {sandbox.disk_gb}")
        sandbox.disk_told = over


def _shift(sandbox: Sandbox, seconds: float) -> None:
    """Moves the moments that are compared with the present along with a clock that was set."""
    sandbox.last_active += seconds
    sandbox.disk_looked += seconds
    if sandbox.running_since is not None:
        sandbox.running_since += seconds
    if sandbox.session is not None:
        sandbox.session.deletions = [at + seconds for at in sandbox.session.deletions]


def _can_change(sandbox: Sandbox) -> bool:
    """Whether a look may find something: what a model took is told of paused sandboxes, too."""
    return sandbox.status == "running" or (sandbox.status == "paused" and sandbox.budget is not None)
