"""Sandboxes: their states, and what moves them from one to the next."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Callable, Optional

from .. import descriptors
from ..cage import disk
from ..cage.cage import Cage
from ..cage.git import Repo
from ..cage.init_client import SandboxGone
from ..control.current_account import acting_for
from ..store import Account, LogEntry, Sandbox
from . import cost, limits
from .accounts import Accounts
from .errors import ApiError, invalid, invalid_state, not_found, not_running, plan_limit, require_descriptors
from .sandbox_setup import SandboxSetup, SetupFailed
from .services import Services, redacted
from .sessions import Sessions
from .snapshots import Snapshots

logger = logging.getLogger(__name__)


class Sandboxes:
    def __init__(self, services: Services, accounts: Accounts, snapshots: Snapshots, sessions: Sessions) -> None:
        self._services = services
        self._sessions = sessions
        self._accounts = accounts
        self._snapshots = snapshots
        self._building = SandboxSetup(services, sessions)

    # --- looking

    def get(self, account: Account, sandbox_id: str) -> Sandbox:
        """404 for an unknown, a destroyed, or another account's sandbox."""
        sandbox = self._services.store.sandboxes.get(sandbox_id)
        if sandbox is None or sandbox.account_id != account.id:
            raise not_found("sandbox", sandbox_id)
        return sandbox

    def of_any(self, sandbox_id: str) -> Sandbox:
        """Whoever's it is: for an administrator. 404 for an unknown one."""
        sandbox = self._services.store.sandboxes.get(sandbox_id)
        if sandbox is None:
            raise not_found("sandbox", sandbox_id)
        return sandbox

    def running(self, account: Account, sandbox_id: str) -> Sandbox:
        """404 as `get`; 409 when it is not running."""
        sandbox = self.get(account, sandbox_id)
        if sandbox.status != "running":
            raise not_running(sandbox.id, sandbox.status)
        return sandbox

    def of(self, account: Account) -> list[Sandbox]:
        """Oldest first."""
        return [box for box in self._services.store.sandboxes.values() if box.account_id == account.id]

    def logs(self, sandbox: Sandbox, tail: Optional[int]) -> list[LogEntry]:
        count = limits.LOGS_DEFAULT if tail is None or tail <= 0 else min(tail, limits.LOGS_MOST)
        return sandbox.logs[-count:]

    @asynccontextmanager
    async def using(self, account: Account, sandbox_id: str) -> AsyncIterator[Cage]:
        """The sandbox's cage for a call that needs it running and keeps it from being idle. 409 otherwise."""
        sandbox = self.get(account, sandbox_id)
        if sandbox.status != "running" or sandbox.cage is None:
            raise not_running(sandbox_id, sandbox.status)
        async with self.active(sandbox):
            yield sandbox.cage

    @asynccontextmanager
    async def active(self, sandbox: Sandbox) -> AsyncIterator[None]:
        sandbox.busy += 1
        try:
            yield
        finally:
            sandbox.busy -= 1
            sandbox.last_active = self._services.clock.time()

    # --- creating

    def new(
        self,
        account: Account,
        *,
        template: str,
        cpus: int,
        memory_mb: int,
        disk_gb: int,
        network_mode: str,
        timeout: int,
        repo: Optional[Repo],
        **fields: object,
    ) -> Sandbox:
        """A pending record from checked values. 403 when the plan's number of sandboxes is reached."""
        self._require_enforceable(network_mode)
        plan = self._require_room(account)
        require_descriptors(descriptors.has_room_for_sandbox(), "a sandbox")
        store, clock = self._services.store, self._services.clock
        sandbox = Sandbox(
            id=self._services.randomness.identifier("cage", store.sandboxes),
            account_id=account.id,
            template=template,
            cpus=cpus,
            memory_mb=memory_mb,
            disk_gb=disk_gb,
            network_mode=network_mode,
            timeout=min(timeout, plan.idle_seconds),
            created_at=clock.timestamp(),
            repo=repo,
            **fields,  # type: ignore[arg-type]
        )
        sandbox.ip = "127.0.0.1"
        store.sandboxes[sandbox.id] = sandbox
        return sandbox

    def _require_room(self, account: Account) -> limits.Tier:
        """The account's plan. 403 when it allows no more sandboxes."""
        plan = self._accounts.limits_of(account)
        living = sum(1 for box in self.of(account) if box.status in ("pending", "running", "paused"))
        if plan.sandboxes is not None and living >= plan.sandboxes:
            raise plan_limit(
                f"plan limit reached: you already have {living} sandboxes, which is your plan's limit"
                " \N{EM DASH} upgrade for more"
            )
        return plan

    def _require_enforceable(self, network_mode: str) -> None:
        isolation = self._services.isolation
        if network_mode != "full" and not isolation.own_network and not self._services.config.allow_unenforced:
            raise invalid(
                f"network_mode: {network_mode} cannot be enforced by {isolation.level} isolation; use full, or start"
                " the emulator with --allow-unenforced (`caged-emulator doctor` tells what stronger isolation needs)"
            )

    async def build(self, sandbox: Sandbox, failing: Callable[[], Optional[str]] = lambda: None) -> None:
        """Takes a pending sandbox to `running`, or to `error` with the reason in its logs. 404 when it was
        destroyed on the way. `failing`: called as the last step; returns the reason why that fails, if it does."""
        try:
            await self._building.build(sandbox)
            reason = failing() if sandbox.status == "pending" else None
            if reason is not None:
                raise SetupFailed(reason)
        except Exception as error:
            if not isinstance(error, (SetupFailed, SandboxGone)):
                logger.error("%s could not be built: %r", sandbox.id, error)
            if sandbox.status == "pending":
                sandbox.status = "error"
                reason = redacted(sandbox, str(error) or repr(error), limits.REASON)
                self._services.failed(sandbox, reason)
                self._services.signals.send("sandbox_error", sandbox=sandbox, reason=reason)
        if sandbox.status == "destroyed":
            await self._clear(sandbox)
            raise not_found("sandbox", sandbox.id)
        if sandbox.status != "pending":
            return
        now = self._services.clock.time()
        sandbox.status = "running"
        sandbox.started_at = self._services.clock.timestamp()
        sandbox.last_active = now
        cost.start(sandbox, now)
        self._services.happened(sandbox, "create", "sandbox is ready", template=sandbox.template)

    # --- states

    async def pause(self, sandbox: Sandbox, why: str = "paused", cause: str = "request") -> None:
        """running -> paused: everything in it is frozen and an automatic snapshot is taken. `cause`: request,
        idle_timeout, budget, trust."""
        async with sandbox.lifecycle, sandbox.disk:
            _require_status(sandbox, "running", "pause")
            assert sandbox.cage is not None
            try:
                await sandbox.cage.freeze()
            except SandboxGone:
                raise invalid_state(sandbox.id, sandbox.status, "running", "pause") from None
            _require_status(sandbox, "running", "pause")  # neither destroyed nor lost meanwhile
            cost.stop(sandbox, self._services.clock.time())
            sandbox.status = "paused"
            self._services.happened(sandbox, "pause", why, cause=cause)
            if cause == "budget":
                self._services.signals.send("out_of_budget", sandbox=sandbox)
            self._snapshots.take_automatic(sandbox)

    async def resume(self, sandbox: Sandbox) -> None:
        """paused or stopped -> running. 409 `budget_exceeded` when there is nothing left to spend."""
        async with sandbox.lifecycle:
            if sandbox.status not in ("paused", "stopped"):
                raise invalid_state(sandbox.id, sandbox.status, "paused", "resume")
            now = self._services.clock.time()
            if cost.exceeded(sandbox, now):
                raise ApiError(
                    409,
                    f"sandbox {sandbox.id} has used its budget of ${sandbox.budget:.2f}; it stays {sandbox.status}",
                    "budget_exceeded",
                    "",
                    "sandbox",
                    sandbox.id,
                )
            if sandbox.status == "stopped":
                await self._start_again(sandbox)
                return
            async with sandbox.disk:
                _require_status(sandbox, "paused", "resume")
                assert sandbox.cage is not None
                try:
                    await sandbox.cage.thaw()
                except SandboxGone:
                    raise invalid_state(sandbox.id, sandbox.status, "paused", "resume") from None
                _require_status(sandbox, "paused", "resume")
                sandbox.status = "running"
                sandbox.last_active = now = self._services.clock.time()
                cost.start(sandbox, now)
            self._services.happened(sandbox, "resume", "resumed")

    async def _start_again(self, sandbox: Sandbox) -> None:
        """stopped -> running: new isolation and processes over the same directory. 503 when they cannot be had, 409
        when
        these isolation cannot enforce the sandbox's network mode."""
        self._require_room(self._services.store.accounts[sandbox.account_id])
        require_descriptors(descriptors.has_room_for_sandbox(), "a sandbox")
        try:
            self._require_enforceable(sandbox.network_mode)
        except ApiError as refusal:
            raise ApiError(409, refusal.detail, "invalid_state", "", "sandbox", sandbox.id) from None
        async with sandbox.disk:
            _require_status(sandbox, "stopped", "resume")
            sandbox.gone.clear()
            try:
                await self._building.reopen(sandbox)
            except Exception as error:
                cage, sandbox.cage = sandbox.cage, None
                if cage is not None:
                    await cage.kill()
                if sandbox.status == "destroyed":  # whoever does that waits for `disk`
                    raise not_found("sandbox", sandbox.id) from None
                why = redacted(sandbox, str(error) or repr(error), limits.REASON)
                reason = f"sandbox {sandbox.id} cannot be started: {why}"
                self._services.failed(sandbox, reason)
                if not isinstance(error, (SetupFailed, SandboxGone, OSError)):
                    raise
                raise ApiError(503, reason) from None
            if sandbox.status == "destroyed":
                raise not_found("sandbox", sandbox.id)
            now = self._services.clock.time()
            sandbox.status = "running"
            sandbox.started_at, sandbox.stopped_at = self._services.clock.timestamp(), None
            sandbox.last_active = now
            cost.start(sandbox, now)
        self._services.happened(sandbox, "resume", "resumed: started again")

    async def stop_all(self) -> None:
        """Kills everything in every sandbox and leaves the files: what an emulator with a state directory does at its
        end. Those that are being made are nobody's yet, and go."""
        boxes = list(self._services.store.sandboxes.values())
        await asyncio.gather(*(self._stop(box) if box.status != "pending" else self.destroy(box) for box in boxes))

    async def _stop(self, sandbox: Sandbox) -> None:
        if sandbox.status in ("running", "paused"):
            with acting_for(sandbox.account_id):
                cost.stop(sandbox, self._services.clock.time())
                sandbox.status = "stopped"
                sandbox.stopped_at = self._services.clock.timestamp()
                self._services.happened(sandbox, "stop", "stopped with the emulator; resume the sandbox to go on")
                self._sessions.cut_off(sandbox)
        sandbox.gone.set()
        cage = sandbox.cage
        if cage is not None:
            await cage.kill()

    async def destroy(self, sandbox: Sandbox) -> None:
        """Kills everything and removes the files; returns when both are gone. Its snapshots stay, a pending one
        is finished first. From this call on the id is a 404."""
        sandbox.status = "destroyed"
        sandbox.gone.set()
        self._snapshots.stop_restoring(sandbox)
        known = self._services.store.sandboxes.pop(sandbox.id, None)
        if known is not None:
            self._services.happened(sandbox, "destroy", "destroyed")
            self._sessions.cut_off(sandbox)
        cost.stop(sandbox, self._services.clock.time())
        account = self._services.store.accounts.get(sandbox.account_id)
        if known is not None and account is not None:
            account.past_seconds += cost.running_seconds(sandbox, 0.0)
        self._services.commit()  # no record without all of its files
        await self._clear(sandbox)

    async def _clear(self, sandbox: Sandbox) -> None:
        """Kills and removes. What holds `disk` may wait for the processes, so they go first; and it may be what starts
        them, so they are looked for again."""
        first = sandbox.cage
        survivors = await first.kill() if first is not None else 0
        async with sandbox.disk:
            cage = sandbox.cage
            if cage is not None and cage is not first:
                survivors = await cage.kill()
            await self._services.workers.walk.run(disk.discard, self._services.files_dir / "sandboxes" / sandbox.id)
        if survivors:
            with acting_for(sandbox.account_id):
                logger.error("%s: %d processes could not be killed", sandbox.id, survivors)

    async def destroy_all(self, account: Optional[Account] = None) -> None:
        boxes = list(self._services.store.sandboxes.values())
        await asyncio.gather(*(self.destroy(box) for box in boxes if account is None or box.account_id == account.id))


def _require_status(sandbox: Sandbox, status: str, call: str) -> None:
    """404 for a destroyed sandbox, 409 for one of another status than `call` needs. To be repeated after each wait in
    a change of state: destroy and the loss of the processes wait for nothing."""
    if sandbox.status != status:
        raise invalid_state(sandbox.id, sandbox.status, status, call)
