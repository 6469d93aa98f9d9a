"""What an emulator finds when it takes over a state directory: nothing runs, and some things were cut off."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..cage import archive, disk
from ..control.clock import rfc3339
from ..control.current_account import acting_for
from ..platform import cost, sandbox_states
from ..platform.platform import Platform
from ..store import Sandbox, Store
from .codec import snapshot_file
from .state_directory import StateDirectory

logger = logging.getLogger(__name__)

KILLED = "stopped: the emulator was killed; resume the sandbox to go on"


@dataclass(frozen=True)
class Alive:
    """The last sign of life, in epoch seconds: of the emulator, and of accounts by their own clocks."""

    common: float
    accounts: Mapping[str, float]

    @classmethod
    def now(cls, platform: Platform) -> Alive:
        clock, boxes = platform.clock, platform.store.sandboxes.values()
        running = {box.account_id for box in boxes if box.status in ("running", "paused")}
        return cls(clock.now("")[0], {account_id: clock.now(account_id)[0] for account_id in running})

    @classmethod
    def read(cls, kept: Any) -> Alive:
        """KeyError, TypeError for what is none."""
        return cls(float(kept["common"]), {str(name): float(at) for name, at in kept["accounts"].items()})

    def of(self, account_id: str) -> float:
        return self.accounts.get(account_id, self.common)


def recover(platform: Platform, alive: Alive) -> None:
    """Put the records right. Files are not touched."""
    for sandbox in platform.store.sandboxes.values():
        if sandbox.status in ("running", "paused"):
            stop(platform, sandbox, alive, KILLED)
    end_sessions(platform.store, alive)


def look_after_files(platform: Platform, directory: StateDirectory) -> None:
    """Remove what shows by its name that it was to go, and move aside what has no record. Blocks, as long as that
    takes. A record that is older than the files, as a power cut or a backup may leave it, must not cost any of them."""
    for sandbox in list(platform.store.sandboxes.values()):
        if sandbox.status == "pending":
            del platform.store.sandboxes[sandbox.id]  # no client has got its id
    _snapshots(platform)
    store, files = platform.store, platform.files_dir
    known = {snapshot_file(files, snapshot_id).name for snapshot_id in store.snapshots}
    for path in sorted((files / "sandboxes").iterdir()):
        if path.name.endswith(disk.REMOVED):
            _remove(platform, path)
        elif path.name not in store.sandboxes:
            _move_aside(platform, directory, path, "no sandbox of this name is in state.db")
    for path in sorted((files / "snapshots").iterdir()):
        if path.suffix == ".part" and path.with_suffix(".tar").name in known:
            _remove(platform, path)  # its snapshot was being taken
        elif path.name not in known:
            _move_aside(platform, directory, path, "no snapshot of this name is in state.db")


def _move_aside(platform: Platform, directory: StateDirectory, path: Path, why: str) -> None:
    try:
        moved = directory.move_aside(path, why)
        logger.warning("%s was moved to %s: %s", path, moved, why)
    except OSError as error:
        logger.warning("%s was left where it is: %s, and it cannot be moved aside: %s", path, why, error.strerror)


def end_sessions(store: Store, alive: Alive) -> None:
    """Those that were active have failed."""
    for session in store.sessions.values():
        if session.ended_at is None:
            box = store.sandboxes.get(session.sandbox_id)
            last = alive.of(session.account_id)
            session.ended_at = max(last, session.started_at)
            session.status = "failed"
            session.compute_cost = cost.compute(box, last) - session.compute_before if box is not None else 0.0


def stop(platform: Platform, sandbox: Sandbox, alive: Alive, why: str) -> None:
    """A record that says running, or paused, of a sandbox without processes."""
    last = alive.of(sandbox.account_id)
    cost.stop(sandbox, last)
    sandbox_states.apply(sandbox, "stop")
    sandbox.stopped_at = rfc3339(last)
    with acting_for(sandbox.account_id):
        platform.recorder.record_lifecycle(sandbox, "stop", why)


def _snapshots(platform: Platform) -> None:
    for snapshot in list(platform.store.snapshots.values()):
        if snapshot.status == "pending" and _is_whole(snapshot.file):
            snapshot.status = "completed"  # the file appears in one step; only the record of it was cut off
            snapshot.size_bytes = snapshot.file.stat().st_size
            with acting_for(snapshot.account_id):
                snapshot.completed_at = platform.clock.timestamp()
        elif snapshot.status == "pending":
            snapshot.status = "failed"
            sandbox = platform.store.sandboxes.get(snapshot.sandbox_id)
            with acting_for(snapshot.account_id):
                snapshot.completed_at = platform.clock.timestamp()
                if sandbox is not None:
                    why = f"snapshot {snapshot.name} ({snapshot.id}) failed: the emulator was killed while it was taken"
                    platform.recorder.record_error(sandbox, why)
        elif snapshot.status == "completed" and not snapshot.file.is_file():
            snapshot.status = "failed"
            logger.warning(
                "snapshot %s cannot be used: its file %s is missing; put it back", snapshot.id, snapshot.file
            )
        elif snapshot.status == "failed" and snapshot.size_bytes and snapshot.file.is_file():
            snapshot.status = "completed"  # its file is back
    for sandbox in platform.store.sandboxes.values():
        if sandbox.status == "stopped" and not (platform.files_dir / "sandboxes" / sandbox.id).is_dir():
            logger.warning("sandbox %s cannot be resumed: its directory is missing; put it back", sandbox.id)


def _is_whole(file: Path) -> bool:
    try:
        archive.check(file)
    except (OSError, archive.ArchiveError):
        return False
    return True


def _remove(platform: Platform, path: Path) -> None:
    try:
        if path.is_dir() and not path.is_symlink():
            disk.remove(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        logger.warning("%s cannot be removed: %s", path, error.strerror)
