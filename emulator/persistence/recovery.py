"""The repair of a state after an emulator has ended: nothing runs any more, and operations may be unfinished."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..cage import crash_recovery, disk, tar_extractor
from ..cage.crash_recovery import DirectoryReplaced
from ..cage.tar_reader import ArchiveError
from ..control.clock import rfc3339
from ..control.current_account import acting_for
from ..platform import cost, sandbox_states
from ..platform.platform import Platform
from ..platform.redaction import learn_secrets
from ..store import Sandbox, Snapshot, Store
from .codec import snapshot_file
from .state_directory import StateDirectory

logger = logging.getLogger(__name__)

_KILLED = "stopped: the emulator was killed; resume the sandbox to go on"


@dataclass(frozen=True)
class Heartbeat:
    """The newest time at which the emulator is known to have run, in epoch seconds.

    Attributes:
        common: By the emulator's clock.
        accounts: By the clocks of accounts with running sandboxes.
    """

    common: float
    accounts: Mapping[str, float]

    @classmethod
    def now(cls, platform: Platform) -> Heartbeat:
        clock, boxes = platform.clock, platform.store.sandboxes.values()
        running = {box.account_id for box in boxes if box.status in ("running", "paused")}
        return cls(clock.now("")[0], {account_id: clock.now(account_id)[0] for account_id in running})

    @classmethod
    def decode(cls, body: Any) -> Heartbeat:
        """Decode the document `alive`, which `codec.check_documents` has accepted."""
        return cls(float(body["common"]), {name: float(at) for name, at in body["accounts"].items()})

    def of(self, account_id: str) -> float:
        """Return the time by the clock of an account."""
        return self.accounts.get(account_id, self.common)


def repair_records(platform: Platform, heartbeat: Heartbeat) -> None:
    """Stop all sandboxes and end all sessions in the records. Files are not touched."""
    for sandbox in platform.store.sandboxes.values():
        learn_secrets(platform.journal, sandbox)
        if sandbox.status in ("running", "paused"):
            stop(platform, sandbox, heartbeat, _KILLED)
    end_sessions(platform.store, heartbeat)


def repair_files(platform: Platform, directory: StateDirectory) -> None:
    """Finish interrupted removals, and move files without a record to lost+found. Blocks.

    Only a name can mark a file for removal: the records may be older than the files, after a power cut or when they
    come from a backup.
    """
    for sandbox in list(platform.store.sandboxes.values()):
        if sandbox.status == "pending":
            del platform.store.sandboxes[sandbox.id]  # no client has received its id
    _repair_snapshots(platform)
    _report_missing_directories(platform)
    store, files = platform.store, platform.files_dir
    known = {snapshot_file(files, snapshot_id).name for snapshot_id in store.snapshots}
    for path in sorted((files / "sandboxes").iterdir()):
        if path.name.endswith(disk.REMOVED):
            _remove(path)
        elif path.name not in store.sandboxes:
            _move_aside(directory, path, "no sandbox of this name is in state.db")
    for path in sorted((files / "snapshots").iterdir()):
        if path.suffix == ".part" and path.with_suffix(".tar").name in known:
            _remove(path)  # it was being written
        elif path.name not in known:
            _move_aside(directory, path, "no snapshot of this name is in state.db")


def _move_aside(directory: StateDirectory, path: Path, why: str) -> None:
    try:
        moved = directory.move_aside(path, why)
        logger.warning("%s was moved to %s: %s", path, moved, why)
    except OSError as error:
        logger.warning("%s was left where it is: %s, and it cannot be moved aside: %s", path, why, error.strerror)


def end_sessions(store: Store, heartbeat: Heartbeat) -> None:
    """End all active sessions as failed."""
    for session in store.sessions.values():
        if session.ended_at is None:
            box = store.sandboxes.get(session.sandbox_id)
            last = heartbeat.of(session.account_id)
            session.ended_at = max(last, session.started_at)
            session.status = "failed"
            session.compute_cost = cost.compute(box, last) - session.compute_before if box is not None else 0.0


def stop(platform: Platform, sandbox: Sandbox, heartbeat: Heartbeat, why: str) -> None:
    """Set the record of a running or paused sandbox, which has no processes any more, to stopped."""
    last = heartbeat.of(sandbox.account_id)
    cost.stop(sandbox, last)
    sandbox_states.apply(sandbox, "stop")
    sandbox.stopped_at = rfc3339(last)
    with acting_for(sandbox.account_id):
        platform.recorder.record_lifecycle(sandbox, "stop", why)


def _repair_snapshots(platform: Platform) -> None:
    for snapshot in list(platform.store.snapshots.values()):
        if snapshot.status == "pending" and _is_complete(snapshot.file):
            snapshot.status = "completed"  # the file appears in one step; only the update of the record is missing
            snapshot.size_bytes = snapshot.file.stat().st_size
            with acting_for(snapshot.account_id):
                snapshot.completed_at = platform.clock.timestamp()
        elif snapshot.status == "pending":
            _fail_snapshot(platform, snapshot)
        elif snapshot.status == "completed" and not snapshot.file.is_file():
            snapshot.status = "failed"
            logger.warning(
                "snapshot %s cannot be used: its file %s is missing; put it back", snapshot.id, snapshot.file
            )
        elif snapshot.status == "failed" and snapshot.size_bytes and snapshot.file.is_file():
            snapshot.status = "completed"  # its file was put back


def _fail_snapshot(platform: Platform, snapshot: Snapshot) -> None:
    snapshot.status = "failed"
    sandbox = platform.store.sandboxes.get(snapshot.sandbox_id)
    with acting_for(snapshot.account_id):
        snapshot.completed_at = platform.clock.timestamp()
        if sandbox is not None:
            why = f"snapshot {snapshot.name} ({snapshot.id}) failed: the emulator was killed while it was taken"
            platform.recorder.record_error(sandbox, why)


def _report_missing_directories(platform: Platform) -> None:
    for sandbox in platform.store.sandboxes.values():
        if sandbox.status == "stopped":
            try:
                crash_recovery.check_directory(platform.isolation.layout(platform.files_dir / "sandboxes" / sandbox.id))
            except DirectoryReplaced as error:
                logger.warning("sandbox %s cannot be resumed: %s", sandbox.id, error)


def _is_complete(file: Path) -> bool:
    try:
        tar_extractor.check(file)
    except (OSError, ArchiveError):
        return False
    return True


def _remove(path: Path) -> None:
    try:
        if path.is_dir() and not path.is_symlink():
            disk.remove(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        logger.warning("%s cannot be removed: %s", path, error.strerror)
