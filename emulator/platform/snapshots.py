"""Snapshots: copies of a sandbox's files that outlive it."""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path
from typing import TYPE_CHECKING, Callable, Optional

from ..cage.disk import WorkspaceTooLarge
from ..cage.init_client import SandboxGone
from ..control.clock import Clock
from ..control.randomness import Randomness
from ..store import AccountRecord, Sandbox, Snapshot, Store
from ..workers import StopToken
from . import limits
from .background import BackgroundTasks
from .durability import Durability
from .errors import ApiError, not_found, not_running, plan_limit
from .live_sandboxes import LiveSandboxes
from .recorder import SandboxRecorder
from .signals import Signals

if TYPE_CHECKING:
    from ..cage.cage import Cage
    from ..cage.gzip_stream import GzipStream

AUTOMATIC = "auto-pause"
#: Download URLs whose expiry is moved along when the clock is set; an older one expires at the time in its text.
_DOWNLOADS_KEPT = 1000


class Snapshots:
    def __init__(
        self,
        store: Store,
        clock: Clock,
        live: LiveSandboxes,
        randomness: Randomness,
        files_dir: Path,
        signals: Signals,
        recorder: SandboxRecorder,
        background: BackgroundTasks,
        durability: Durability,
        signing_key: bytes,
    ) -> None:
        self._store = store
        self._clock = clock
        self._live = live
        self._randomness = randomness
        self._files_dir = files_dir
        self._signals = signals
        self._recorder = recorder
        self._background = background
        self._durability = durability
        self._signing_key = signing_key
        #: By signature of a download URL: its account, and when it expires, moved along when the clock is set.
        self._downloads: dict[str, tuple[str, float]] = {}
        #: What stops a copy that is being made: by snapshot that is taken; by sandbox that is restored.
        self._taking: dict[str, StopToken] = {}
        self._restoring: dict[str, StopToken] = {}
        self._signals.connect("clock_set", self._clock_set)

    def _clock_set(self, account_id: str, seconds: float) -> None:
        for signature, (owner, expires) in self._downloads.items():
            if owner == account_id:
                self._downloads[signature] = (owner, expires + seconds)

    def get(self, account: AccountRecord, snapshot_id: str) -> Snapshot:
        """Return a snapshot. 404 for an unknown one, and for another account's."""
        snapshot = self._store.snapshots.get(snapshot_id)
        if snapshot is None or snapshot.account_id != account.id:
            raise not_found("snapshot", snapshot_id)
        return snapshot

    def owner(self, snapshot_id: str) -> Optional[AccountRecord]:
        """Return the account of a snapshot; None for an unknown one."""
        snapshot = self._store.snapshots.get(snapshot_id)
        return None if snapshot is None else self._store.accounts.get(snapshot.account_id)

    def of_sandbox(self, account: AccountRecord, sandbox_id: str) -> list[Snapshot]:
        """The snapshots of a sandbox, oldest first. 404 for a sandbox that is gone: its snapshots are found by id."""
        sandbox = self._store.sandboxes.get(sandbox_id)
        if sandbox is None or sandbox.account_id != account.id:
            raise not_found("sandbox", sandbox_id)
        return self._of(sandbox_id, account.id)

    def of_account(self, account: AccountRecord) -> list[Snapshot]:
        """The account's snapshots, oldest first."""
        return [snap for snap in self._store.snapshots.values() if snap.account_id == account.id]

    def _of(self, sandbox_id: str, account_id: str) -> list[Snapshot]:
        everything = self._store.snapshots.values()
        return [snap for snap in everything if snap.sandbox_id == sandbox_id and snap.account_id == account_id]

    # --- taking

    def create(
        self, sandbox: Sandbox, name: str, description: str, failing: Callable[[], Optional[str]] = lambda: None
    ) -> Snapshot:
        """Begin a snapshot, and return it while it is pending. 403 when the sandbox has too many, 409 in a wrong state.

        Args:
            failing: Returns the reason why the snapshot fails, or None.
        """
        if sandbox.status not in ("running", "paused"):
            raise not_running(sandbox.id, sandbox.status)
        manual = [snap for snap in self._of(sandbox.id, sandbox.account_id) if snap.trigger == "manual"]
        if len(manual) >= limits.MANUAL_SNAPSHOTS:
            raise plan_limit(
                f"plan limit reached: sandbox {sandbox.id} already has {len(manual)} snapshots; delete one first",
                "sandbox",
                sandbox.id,
            )
        return self._begin(sandbox, name, description, "manual", failing())

    def take_automatic(self, sandbox: Sandbox) -> Snapshot:
        """Begin the snapshot of a pause. It replaces the sandbox's earlier automatic ones."""
        return self._begin(sandbox, AUTOMATIC, "", "auto")

    def _begin(
        self, sandbox: Sandbox, name: str, description: str, trigger: str, failing: Optional[str] = None
    ) -> Snapshot:
        store = self._store
        identifier = self._randomness.identifier("snap", store.snapshots)
        snapshot = Snapshot(
            id=identifier,
            account_id=sandbox.account_id,
            sandbox_id=sandbox.id,
            name=name or identifier,
            description=description,
            trigger=trigger,
            created_at=self._clock.timestamp(),
            file=self._files_dir / "snapshots" / f"{identifier}.tar",
        )
        store.snapshots[identifier] = snapshot
        self._background.start(self._take(sandbox, snapshot, failing))
        return snapshot

    async def _take(self, sandbox: Sandbox, snapshot: Snapshot, failing: Optional[str]) -> None:
        if failing is not None:
            self._failed(sandbox, snapshot, failing)
            return
        cage = self._live.of(sandbox).cage
        assert cage is not None
        stop = self._taking[snapshot.id] = StopToken()
        try:
            if not await self._copy(sandbox, cage, snapshot, stop):
                return
        finally:
            del self._taking[snapshot.id]
        if snapshot.id not in self._store.snapshots:
            snapshot.file.unlink(missing_ok=True)  # deleted while it was taken
            return
        snapshot.size_bytes = snapshot.file.stat().st_size
        snapshot.completed_at = self._clock.timestamp()
        snapshot.status = "completed"
        message = f"snapshot {snapshot.name} ({snapshot.id}) completed"
        self._recorder.record_lifecycle(sandbox, "snapshot", message, snapshot_id=snapshot.id, trigger=snapshot.trigger)
        if snapshot.trigger == "auto":
            self._drop_older_automatic(snapshot)

    async def _copy(self, sandbox: Sandbox, cage: Cage, snapshot: Snapshot, stop: StopToken) -> bool:
        """Write the snapshot's file while the sandbox is frozen. Return False when that fails."""
        async with self._live.of(sandbox).workspace_lock:
            is_frozen = sandbox.status == "running"
            try:
                if is_frozen:
                    try:
                        await cage.freeze()
                    except SandboxGone:
                        is_frozen = False  # its processes have ended; nothing changes the files
                try:
                    await cage.pack(snapshot.file, limits.SNAPSHOT_BYTES, stop)
                finally:
                    if is_frozen and cage.alive and sandbox.status == "running":
                        await cage.thaw()
            except WorkspaceTooLarge:
                self._failed(sandbox, snapshot, f"larger than {limits.SNAPSHOT_BYTES // 1024**3} GB")
                return False
            except (OSError, SandboxGone) as error:
                if snapshot.id in self._store.snapshots:  # else it was deleted, which has stopped it
                    self._failed(sandbox, snapshot, str(error))
                return False
            except Exception as error:
                self._failed(sandbox, snapshot, repr(error))
                raise  # to the emulator's log
        return True

    def _failed(self, sandbox: Sandbox, snapshot: Snapshot, why: str) -> None:
        snapshot.status = "failed"
        snapshot.completed_at = self._clock.timestamp()
        self._recorder.record_error(sandbox, f"snapshot {snapshot.name} ({snapshot.id}) failed: {why}")

    def _drop_older_automatic(self, newest: Snapshot) -> None:
        for snapshot in self._of(newest.sandbox_id, newest.account_id):
            if snapshot.trigger == "auto" and snapshot is not newest and snapshot.status != "pending":
                self.delete(snapshot)

    # --- using

    async def restore(self, snapshot: Snapshot, target: Sandbox) -> None:
        """Replace the target's files, or leave them unchanged. 404, 409; 507 when files cannot be written."""
        live = self._live.of(target)
        if target.status != "running" or live.cage is None:
            raise not_running(target.id, target.status)
        self._require_completed(snapshot)
        cage = live.cage
        async with live.workspace_lock:
            self._require_restorable(snapshot, target)
            before = await self._recorder.file_changes.scan(target)
            try:
                await cage.freeze()
                stop = self._restoring[target.id] = StopToken()
                try:
                    restored = await cage.restore(snapshot.file, stop)
                finally:
                    del self._restoring[target.id]
                    await cage.thaw()
            except SandboxGone:
                self._require_restorable(snapshot, target)
                raise not_running(target.id, target.status) from None
            except OSError as error:
                self._require_restorable(snapshot, target)
                self._recorder.record_error(target, f"restore of {snapshot.id} failed: {error}")
                raise ApiError(507, f"restoring {snapshot.id} failed, the files are untouched: {error}") from None
        target.has_restored = True
        message = f"restored snapshot {snapshot.name} ({snapshot.id})"
        step = self._recorder.record_lifecycle(target, "restore", message, snapshot_id=snapshot.id)
        if restored.left_out:
            names = ", ".join(f"/{name}" for name in restored.left_out)
            reason = "only /workspace, /root and /tmp can be restored without overlays (see `caged-emulator doctor`)"
            self._recorder.log(target, f"not restored from {snapshot.id}: {names}: {reason}")
        after = None if before is None else await self._recorder.file_changes.scan(target)
        self._recorder.file_changes.add(target, step, before, after)

    def _require_restorable(self, snapshot: Snapshot, target: Sandbox) -> None:
        """Raise 404 for a snapshot or sandbox that was deleted meanwhile, 409 for a sandbox that is not running."""
        if target.status == "destroyed":
            raise not_found("sandbox", target.id)
        if target.status != "running":
            raise not_running(target.id, target.status)
        if snapshot.id not in self._store.snapshots:
            raise not_found("snapshot", snapshot.id)

    def stop_restoring(self, sandbox: Sandbox) -> None:
        """Stop a restore into a sandbox that is being destroyed."""
        if sandbox.id in self._restoring:
            self._restoring[sandbox.id].set("the sandbox was destroyed")

    def delete(self, snapshot: Snapshot) -> None:
        """Delete a snapshot; stop one that is pending."""
        self._store.snapshots.pop(snapshot.id, None)
        if snapshot.id in self._taking:
            self._taking[snapshot.id].set("the snapshot was deleted")
        self._durability.commit()  # no record without its file
        snapshot.file.unlink(missing_ok=True)

    def delete_all(self, account: AccountRecord) -> None:
        """Delete the account's snapshots."""
        for snapshot in self.of_account(account):
            self.delete(snapshot)

    def _require_completed(self, snapshot: Snapshot) -> None:
        if snapshot.status != "completed":
            raise ApiError(
                409,
                f"snapshot {snapshot.id} is {snapshot.status}; only a completed one can be used",
                "snapshot_not_ready",
                "",
                "snapshot",
                snapshot.id,
            )

    # --- downloading

    def sign_download(self, snapshot: Snapshot) -> str:
        """Return path and query of a URL that works without a key, for `limits.DOWNLOAD_SECONDS`."""
        self._require_completed(snapshot)
        expires = int(self._clock.time()) + limits.DOWNLOAD_SECONDS
        signature = self._signature(snapshot.id, expires)
        while len(self._downloads) >= _DOWNLOADS_KEPT:
            del self._downloads[next(iter(self._downloads))]
        self._downloads[signature] = (snapshot.account_id, float(expires))
        return f"/v1/snapshots/{snapshot.id}/download/content?expires={expires}&signature={signature}"

    def _signature(self, snapshot_id: str, expires: int) -> str:
        text = f"{snapshot_id}:{expires}".encode()
        return hmac.new(self._signing_key, text, hashlib.sha256).hexdigest()

    def signed_content(self, snapshot_id: str, expires: str, signature: str) -> GzipStream:
        """Return the `.tar.gz` of a signed URL, to be closed. 403 for an expired or altered URL. Iterating blocks."""
        try:
            until = int(expires)
        except ValueError:
            until = 0
        good = hmac.compare_digest(self._signature(snapshot_id, until).encode(), signature.encode())
        if not good or str(until) != expires:
            raise ApiError(403, "the download URL is not valid; ask for a new one", "policy_denied")
        if self._clock.time() > self._downloads.get(signature, ("", float(until)))[1]:
            raise ApiError(403, "the download URL has expired; ask for a new one", "policy_denied")
        snapshot = self._store.snapshots.get(snapshot_id)
        if snapshot is None:
            raise not_found("snapshot", snapshot_id)
        from ..cage.gzip_stream import GzipStream

        return GzipStream(snapshot.file)
