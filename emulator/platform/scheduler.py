"""What happens to a sandbox as time passes: it is paused when it is idle, and paused or destroyed at its budget."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Sequence
from typing import Callable, Optional

from ..config import EmulatorConfig
from ..control.clock import Clock
from ..control.current_account import ALL_ACCOUNTS, acting_for
from ..store import AgentSession, Sandbox, Store
from . import cost
from .background import BackgroundTasks
from .errors import ApiError
from .live_sandboxes import LiveSandboxes
from .recorder import SandboxRecorder
from .sandbox_lifecycle import SandboxLifecycle
from .signals import Signals

logger = logging.getLogger(__name__)

INTERVAL = 0.25
#: The account of what belongs to none: it follows the emulator's own clock.
NO_ACCOUNT = ""
#: Seconds between two measurements of a sandbox's disk usage, when something has happened in it since.
DISK_INTERVAL = 5.0
#: An advance of the clock stops so often at most, and goes on by so many seconds at least.
_MOST_STOPS = 1000
_LEAST_STEP = 0.001
#: How long a command that has run an agent may take to end after the agent's reply.
_DELIVERY_SECONDS = 2.0


class Scheduler:
    def __init__(
        self,
        config: EmulatorConfig,
        store: Store,
        clock: Clock,
        live: LiveSandboxes,
        signals: Signals,
        recorder: SandboxRecorder,
        background: BackgroundTasks,
        lifecycle: SandboxLifecycle,
        checks: Sequence[Callable[[], None]] = (),
        due_times: Sequence[Callable[[Sandbox, float], list[float]]] = (),
    ) -> None:
        """
        Args:
            checks: What else is called at each check; must not wait.
            due_times: Return the seconds until one of `checks` has something to find in a sandbox.
        """
        self._config = config
        self._store = store
        self._clock = clock
        self._live = live
        self._signals = signals
        self._recorder = recorder
        self._background = background
        self._lifecycle = lifecycle
        self._checking: set[str] = set()
        self._started: set[asyncio.Task[None]] = set()
        #: When a sandbox's newest agent session has ended, by the loop's time.
        self._answered: dict[str, float] = {}
        self._signals.connect("session_ended", self._session_ended)
        self._checks = checks
        self._due_times = due_times

    def _session_ended(self, sandbox: Sandbox, session: AgentSession) -> None:
        if sandbox.status == "running":
            self._answered[sandbox.id] = asyncio.get_running_loop().time()

    def _delivering(self, sandbox: Sandbox) -> bool:
        """Whether an agent's reply may still be on its way to its command, which would never end when it were frozen
        before, because the reply has used up the budget."""
        answered = self._answered.get(sandbox.id)
        if answered is None:
            return False
        if self._live.of(sandbox).calls and asyncio.get_running_loop().time() - answered < _DELIVERY_SECONDS:
            return True
        del self._answered[sandbox.id]
        return False

    async def run(self) -> None:
        """Check all sandboxes regularly, until cancelled."""
        while True:
            await asyncio.sleep(INTERVAL)
            for sandbox in self._candidates():
                # One that waits, e.g. for a snapshot of a large workspace, must not delay the others.
                task = self._background.start(self._check_unless_delivering(sandbox))
                self._started.add(task)
                task.add_done_callback(self._started.discard)
            self._run_checks()

    async def _check_unless_delivering(self, sandbox: Sandbox) -> None:
        if not self._delivering(sandbox):
            await self._check(sandbox)

    async def advance(self, account_id: str, seconds: float) -> None:
        """Advance an account's clock (`*`: every account's), stopping at each moment at which a sandbox becomes idle or
        reaches a mark of its budget, so that everything happens at its time. Return when it has happened."""
        clock = self._clock
        rest = seconds
        for _ in range(_MOST_STOPS):
            step = min(self._until_due(account_id), rest)
            clock.advance(account_id, step)
            await self.check(account_id)
            rest -= step
            if rest <= 0:
                return
        clock.advance(account_id, rest)
        await self.check(account_id)

    def freeze(self, account_id: str, at: Optional[float]) -> None:
        """Freeze an account's clock, now or at the epoch second `at`. No time passes by that: sandboxes have not been
        running or idle for longer."""
        self._set(account_id, lambda: self._clock.freeze(account_id, at))

    def reset(self, account_id: str) -> None:
        """Return an account's clock to the emulator's own time. No time passes by that either."""
        self._set(account_id, lambda: self._clock.reset(account_id))

    def _set(self, account_id: str, change: Callable[[], None]) -> None:
        clock, store = self._clock, self._store
        names = [account_id] if account_id != ALL_ACCOUNTS else [NO_ACCOUNT, *store.accounts]
        before = {name: clock.now(name)[0] for name in names}
        change()
        for name in names:
            shift = clock.now(name)[0] - before[name]
            for sandbox in store.sandboxes.values():
                if sandbox.account_id == name:
                    _shift(sandbox, shift)
            self._signals.send("clock_set", account_id=name, seconds=shift)

    async def spend(self, sandbox: Sandbox, usd: float) -> None:
        """Add to what the sandbox's agents have spent. Return when its consequences have happened."""
        sandbox.spent_llm += usd
        await self.check(sandbox.account_id)

    def _until_due(self, account_id: str) -> float:
        """Return the seconds until something happens to one of the account's running sandboxes."""
        waits = [math.inf]
        for sandbox in self._store.sandboxes.values():
            if sandbox.status == "running" and account_id in (sandbox.account_id, ALL_ACCOUNTS):
                now = self._clock.now(sandbox.account_id)[0]
                if not self._live.of(sandbox).calls:
                    waits.append(sandbox.last_active + sandbox.timeout - now)
                waits += cost.until_marks(sandbox, now)
                for due in self._due_times:
                    with acting_for(sandbox.account_id):
                        waits += due(sandbox, now)
        return max(min(waits), _LEAST_STEP)

    async def check(self, account_id: str = ALL_ACCOUNTS) -> None:
        """Check every sandbox of an account (`*`: of every account). Return when all consequences have happened."""
        await self._finish_started()  # they may have been started at an earlier time
        mine = [box for box in self._candidates() if account_id in (box.account_id, ALL_ACCOUNTS)]
        await asyncio.gather(*(self._check(sandbox) for sandbox in mine))
        await self._finish_started()
        self._run_checks()

    def _run_checks(self) -> None:
        for check in self._checks:
            try:
                check()
            except Exception:
                logger.exception("a regular check failed")

    async def _finish_started(self) -> None:
        if self._started:
            await asyncio.wait(set(self._started))

    def _candidates(self) -> list[Sandbox]:
        boxes = self._store.sandboxes.values()
        return [box for box in boxes if _can_change(box) and box.id not in self._checking]

    async def _check(self, sandbox: Sandbox) -> None:
        self._checking.add(sandbox.id)
        with acting_for(sandbox.account_id):
            try:
                await self._check_sandbox(sandbox)
            except ApiError:
                pass  # its state has changed meanwhile
            except Exception:
                logger.exception("the check of %s failed", sandbox.id)
            finally:
                self._checking.discard(sandbox.id)

    async def _check_sandbox(self, sandbox: Sandbox) -> None:
        now = self._clock.time()
        reached, used_up = cost.newly_reached(sandbox, now)
        for mark in reached:
            self._report_budget(sandbox, f"{mark}% of the budget of ${sandbox.budget:.2f} is used", mark, now)
        if used_up:
            if 100 not in sandbox.budget_marks:
                sandbox.budget_marks.add(100)
                self._report_budget(sandbox, f"the budget of ${sandbox.budget:.2f} is used up", 100, now)
            if self._config.budget_action == "destroy":
                await self._lifecycle.destroy(sandbox)
            elif sandbox.status == "running":
                await self._lifecycle.pause(sandbox, "paused: budget used up", "budget")
        if used_up or sandbox.status != "running":
            return
        if self._config.limits and now - sandbox.disk_checked >= DISK_INTERVAL:
            await self._check_disk(sandbox, now)
            now = self._clock.time()  # it may have been set while the disk was measured
            if sandbox.status != "running":
                return
        if not self._live.of(sandbox).calls and now - sandbox.last_active >= sandbox.timeout:
            await self._lifecycle.pause(sandbox, f"paused after {sandbox.timeout} s without activity", "idle_timeout")
            self._signals.send("idle_timeout", sandbox=sandbox)

    def _report_budget(self, sandbox: Sandbox, message: str, percent: int, now: float) -> None:
        spent = cost.total(sandbox, now)
        self._recorder.record_lifecycle(sandbox, "budget", message, "budget", percent=percent, spent=round(spent, 6))
        self._signals.send("budget_mark", sandbox=sandbox, percent=percent, spent=spent)

    async def _check_disk(self, sandbox: Sandbox, now: float) -> None:
        """Record an error when the sandbox uses more disk than it has: the kernel limits no directory's size for an
        ordinary user."""
        if not self._live.of(sandbox).calls and sandbox.last_active <= sandbox.disk_checked:
            return
        sandbox.disk_checked = now
        cage = self._live.of(sandbox).cage
        assert cage is not None
        used = await cage.disk_usage()
        if sandbox.status == "destroyed":
            return
        over = used > sandbox.disk_gb * 1024**3
        if over and not sandbox.disk_exceeded:
            self._recorder.record_error(sandbox, f"{used / 1024**3:.2f} GB on disk, disk_gb is {sandbox.disk_gb}")
        sandbox.disk_exceeded = over


def _shift(sandbox: Sandbox, seconds: float) -> None:
    """Move the moments that are compared with the present along with a clock that was set."""
    sandbox.last_active += seconds
    sandbox.disk_checked += seconds
    if sandbox.running_since is not None:
        sandbox.running_since += seconds
    if sandbox.agent_session is not None:
        sandbox.agent_session.deletions = [at + seconds for at in sandbox.agent_session.deletions]


def _can_change(sandbox: Sandbox) -> bool:
    """Whether a check may find something: the budget of a paused sandbox can still be used up by a model."""
    return sandbox.status == "running" or (sandbox.status == "paused" and sandbox.budget is not None)
