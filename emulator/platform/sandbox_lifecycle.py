"""What takes a sandbox from one state to the next: create, pause, resume, stop, destroy (the table: sandbox_states)."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Callable, Optional

from ..cage import disk
from ..cage.cage import Cage
from ..cage.crash_recovery import DirectoryReplaced
from ..cage.git import Repo
from ..cage.init_client import SandboxGone
from ..control.clock import Clock
from ..control.current_account import acting_for
from ..control.prepared import PreparedSandbox
from ..control.randomness import Randomness
from ..store import AccountRecord, Sandbox, Store
from ..workers import Workers
from . import cost, limits, sandbox_states
from .agent_sessions import AgentSessions
from .background import BackgroundTasks
from .durability import Durability
from .errors import ApiError, invalid_state, not_found
from .live_sandboxes import LiveSandboxes
from .recorder import SandboxRecorder
from .redaction import redact_for
from .sandbox_limits import SandboxLimits
from .sandbox_setup import SandboxSetup
from .sandbox_starter import SetupError
from .signals import Signals
from .snapshots import Snapshots

logger = logging.getLogger(__name__)

#: The longest that a create waits for descriptors which the emulator's own work holds, and between two looks.
REMOVAL_SECONDS, ROOM_SECONDS, _POLL_SECONDS = 5.0, 0.5, 0.02


class SandboxLifecycle:
    def __init__(
        self,
        store: Store,
        clock: Clock,
        randomness: Randomness,
        live: LiveSandboxes,
        sandbox_limits: SandboxLimits,
        setup: SandboxSetup,
        snapshots: Snapshots,
        sessions: AgentSessions,
        signals: Signals,
        recorder: SandboxRecorder,
        durability: Durability,
        files_dir: Path,
        workers: Workers,
        background: BackgroundTasks,
    ) -> None:
        """`files_dir`: the directory that holds the sandboxes' directories."""
        self._store = store
        self._clock = clock
        self._randomness = randomness
        self._live = live
        self._limits = sandbox_limits
        self._setup = setup
        self._snapshots = snapshots
        self._sessions = sessions
        self._signals = signals
        self._recorder = recorder
        self._durability = durability
        self._files_dir = files_dir
        self._workers = workers
        self._background = background
        #: The removals of directories that are in progress.
        self._removals: set[asyncio.Task[None]] = set()

    # --- creating

    async def make_room(self) -> None:
        """Wait while too few descriptors are left for another sandbox and the emulator's own work may free some: the
        removal of directories up to REMOVAL_SECONDS, anything else (looks at ports and sizes) up to ROOM_SECONDS."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        while not self._limits.has_descriptors():
            if loop.time() - begun >= (REMOVAL_SECONDS if self._removals else ROOM_SECONDS):
                return
            await asyncio.sleep(_POLL_SECONDS)

    def new(
        self,
        account: AccountRecord,
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
        """Return a pending sandbox made of checked values. 403 when the plan's number of sandboxes is reached."""
        self._limits.require_enforceable(network_mode)
        plan = self._limits.require_room(account)
        sandbox = Sandbox(
            id=self._randomness.identifier("cage", self._store.sandboxes),
            account_id=account.id,
            template=template,
            cpus=cpus,
            memory_mb=memory_mb,
            disk_gb=disk_gb,
            network_mode=network_mode,
            timeout=min(timeout, plan.idle_seconds),
            created_at=self._clock.timestamp(),
            repo=repo,
            **fields,  # type: ignore[arg-type]
        )
        sandbox.ip = "127.0.0.1"
        self._store.sandboxes[sandbox.id] = sandbox
        return sandbox

    async def build(
        self,
        sandbox: Sandbox,
        failing: Callable[[], Optional[str]] = lambda: None,
        prepared: Optional[PreparedSandbox] = None,
    ) -> None:
        """Take a pending sandbox to `running`, or to `error` with the reason in its log. 404 when it was destroyed
        meanwhile.

        Args:
            failing: Called as the last step; returns the reason why that fails, or None.
            prepared: What it begins with.
        """
        try:
            await self._setup.build(sandbox, prepared)
            reason = failing() if sandbox.status == "pending" else None
            if reason is not None:
                raise SetupError(reason)
        except Exception as error:
            if not isinstance(error, (SetupError, SandboxGone)):
                logger.error("%s could not be built: %r", sandbox.id, error)
            if sandbox.status == "pending":
                self._fail(sandbox, error)
        if sandbox.status == "destroyed":
            await self._remove(sandbox)
            raise not_found("sandbox", sandbox.id)
        if sandbox.status == "pending":
            sandbox.started_at = self._clock.timestamp()
            self._run(sandbox, "ready")
            self._recorder.record_lifecycle(sandbox, "create", "sandbox is ready", template=sandbox.template)

    def _fail(self, sandbox: Sandbox, error: Exception) -> None:
        sandbox_states.apply(sandbox, "fail")
        reason = redact_for(sandbox, str(error) or repr(error), limits.REASON)
        self._recorder.record_error(sandbox, reason)
        self._signals.send("sandbox_error", sandbox=sandbox, reason=reason)

    def _run(self, sandbox: Sandbox, change: sandbox_states.Change) -> None:
        """Take the sandbox to `running`: from now on it costs, and is idle."""
        now = self._clock.time()
        sandbox_states.apply(sandbox, change)
        sandbox.last_active = now
        cost.start(sandbox, now)

    # --- pausing and resuming

    async def pause(self, sandbox: Sandbox, why: str = "paused", cause: str = "request") -> None:
        """Freeze everything in a running sandbox, and take an automatic snapshot. 404, 409.

        Args:
            why: The line in its log.
            cause: `request`, `idle_timeout`, `budget` or `trust`.
        """
        live = self._live.of(sandbox)
        async with live.state_lock, live.workspace_lock:
            sandbox_states.require(sandbox, "pause")
            assert live.cage is not None
            try:
                await live.cage.freeze()
            except SandboxGone:
                raise invalid_state(sandbox.id, sandbox.status, "running", "pause") from None
            sandbox_states.require(sandbox, "pause")
            cost.stop(sandbox, self._clock.time())
            sandbox_states.apply(sandbox, "pause")
            self._recorder.record_lifecycle(sandbox, "pause", why, cause=cause)
            if cause == "budget":
                self._signals.send("out_of_budget", sandbox=sandbox)
            self._snapshots.take_automatic(sandbox)

    async def resume(self, sandbox: Sandbox) -> None:
        """Let a paused sandbox go on, or start a stopped one. 409 `budget_exceeded` when its budget is used up."""
        live = self._live.of(sandbox)
        async with live.state_lock:
            sandbox_states.require(sandbox, "resume")
            self._require_budget(sandbox)
            if sandbox.status == "stopped":
                await self._start_again(sandbox)
                return
            async with live.workspace_lock:
                sandbox_states.require(sandbox, "resume", "paused")
                assert live.cage is not None
                try:
                    live.cage.require_directory()
                    await live.cage.thaw()
                except DirectoryReplaced as error:
                    raise ApiError(503, f"sandbox {sandbox.id} cannot be resumed: {error}") from None
                except SandboxGone:
                    raise invalid_state(sandbox.id, sandbox.status, "paused", "resume") from None
                sandbox_states.require(sandbox, "resume", "paused")
                self._run(sandbox, "resume")
            self._recorder.record_lifecycle(sandbox, "resume", "resumed")

    def _require_budget(self, sandbox: Sandbox) -> None:
        if cost.exceeded(sandbox, self._clock.time()):
            raise ApiError(
                409,
                f"sandbox {sandbox.id} has used its budget of ${sandbox.budget:.2f}; it stays {sandbox.status}",
                "budget_exceeded",
                "",
                "sandbox",
                sandbox.id,
            )

    async def _start_again(self, sandbox: Sandbox) -> None:
        """Start new processes over the directory of a stopped sandbox. 503 when they cannot be started, 409 when the
        isolation cannot enforce the sandbox's network mode."""
        await self.make_room()
        self._limits.require_room(self._store.accounts[sandbox.account_id])
        try:
            self._limits.require_enforceable(sandbox.network_mode)
        except ApiError as error:
            raise ApiError(409, error.detail, "invalid_state", "", "sandbox", sandbox.id) from None
        live = self._live.of(sandbox)
        async with live.workspace_lock:
            sandbox_states.require(sandbox, "resume", "stopped")
            live.gone.clear()
            try:
                await self._setup.reopen(sandbox)
            except Exception as error:
                await self._give_up_start(sandbox, error)
            if sandbox.status == "destroyed":
                raise not_found("sandbox", sandbox.id)
            sandbox.started_at, sandbox.stopped_at = self._clock.timestamp(), None
            self._run(sandbox, "resume")
        self._recorder.record_lifecycle(sandbox, "resume", "resumed: started again")

    async def _give_up_start(self, sandbox: Sandbox, error: Exception) -> None:
        """Kill what was started. The sandbox stays stopped. Raises ApiError for an expected error, else the error."""
        live = self._live.of(sandbox)
        cage, live.cage = live.cage, None
        if cage is not None:
            await cage.kill()
        if sandbox.status == "destroyed":  # the destroy waits for the workspace
            raise not_found("sandbox", sandbox.id) from None
        why = redact_for(sandbox, str(error) or repr(error), limits.REASON)
        reason = f"sandbox {sandbox.id} cannot be started: {why}"
        self._recorder.record_error(sandbox, reason)
        if not isinstance(error, (SetupError, SandboxGone, OSError)):
            raise error
        raise ApiError(503, reason) from None

    # --- ending

    async def stop_all(self) -> None:
        """Kill everything in every sandbox and leave the files, at the end of an emulator with a state directory.
        Pending sandboxes, whose ids no client has yet, are destroyed."""
        boxes = list(self._store.sandboxes.values())
        await asyncio.gather(*(self._stop(box) if box.status != "pending" else self.destroy(box) for box in boxes))

    async def _stop(self, sandbox: Sandbox) -> None:
        if sandbox_states.can(sandbox, "stop"):
            with acting_for(sandbox.account_id):
                cost.stop(sandbox, self._clock.time())
                sandbox_states.apply(sandbox, "stop")
                sandbox.stopped_at = self._clock.timestamp()
                message = "stopped with the emulator; resume the sandbox to go on"
                self._recorder.record_lifecycle(sandbox, "stop", message)
                self._sessions.fail_active(sandbox)
        live = self._live.of(sandbox)
        live.gone.set()
        if live.cage is not None:
            await live.cage.kill()

    async def destroy(self, sandbox: Sandbox) -> None:
        """Kill everything and remove the files; return when the processes are gone, and the directory is out of reach.
        Its snapshots stay, a pending one is finished first. From this call on the id is a 404."""
        sandbox_states.apply(sandbox, "destroy")
        self._live.of(sandbox).gone.set()
        self._snapshots.stop_restoring(sandbox)
        known = self._store.sandboxes.pop(sandbox.id, None)
        if known is not None:
            self._recorder.record_lifecycle(sandbox, "destroy", "destroyed")
            self._sessions.fail_active(sandbox)
        cost.stop(sandbox, self._clock.time())
        account = self._store.accounts.get(sandbox.account_id)
        if known is not None and account is not None:
            account.past_seconds += cost.running_seconds(sandbox, 0.0)
        self._durability.commit()  # no record without all of its files
        await self._remove(sandbox)

    async def _remove(self, sandbox: Sandbox) -> None:
        """Kill the processes and remove the files. The holder of the workspace may wait for the processes, so they are
        killed first; and it may be what starts them, so they are looked for again."""
        live = self._live.of(sandbox)
        first: Optional[Cage] = live.cage
        survivors = await first.kill() if first is not None else 0
        async with live.workspace_lock:
            cage = live.cage
            if cage is not None and cage is not first:
                survivors = await cage.kill()
            await self._remove_files(self._files_dir / "sandboxes" / sandbox.id)
        self._live.drop(sandbox)
        if survivors:
            with acting_for(sandbox.account_id):
                logger.error("%s: %d processes could not be killed", sandbox.id, survivors)

    async def _remove_files(self, directory: Path) -> None:
        """Take a directory out of reach, and remove it while no request waits, unless too many are being removed."""
        doomed = disk.set_aside(directory)
        if doomed is None:
            return
        if doomed == directory:
            await self._workers.walk.run(disk.remove, doomed)
            return
        while len(self._removals) >= limits.REMOVALS:
            await asyncio.wait(set(self._removals), return_when=asyncio.FIRST_COMPLETED)
        removal = self._background.start(self._workers.walk.run(disk.remove, doomed))
        self._removals.add(removal)
        removal.add_done_callback(self._removals.discard)

    async def destroy_all(self, account: Optional[AccountRecord] = None) -> None:
        """Destroy the account's sandboxes, or all."""
        boxes = list(self._store.sandboxes.values())
        await asyncio.gather(*(self.destroy(box) for box in boxes if account is None or box.account_id == account.id))
