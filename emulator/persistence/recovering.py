"""What an emulator finds when it takes over a state directory: nothing runs, and some things were cut off."""

from __future__ import annotations

from pathlib import Path

from ..cage import disk
from ..control.clock import rfc3339
from ..platform import cost
from ..platform.platform import Platform
from ..platform.services import Services
from ..store import Sandbox, Store
from .codec import snapshot_file

KILLED = "stopped: the emulator was killed; resume the sandbox to go on"


def recover(platform: Platform, alive: float) -> None:
    """`alive`: epoch seconds of the last sign of life. Blocks, as long as it takes to remove what nobody knows."""
    services = platform.services
    for sandbox in list(services.store.sandboxes.values()):
        if sandbox.status == "pending":
            del services.store.sandboxes[sandbox.id]  # nobody was told of it
        elif sandbox.status in ("running", "paused"):
            stop(services, sandbox, alive, KILLED)
    end_sessions(services.store, alive)
    _snapshots(services)
    _remove_unknown(services)


def end_sessions(store: Store, alive: float) -> None:
    """Those that were active have failed."""
    for session in store.sessions.values():
        if session.ended_at is None:
            box = store.sandboxes.get(session.sandbox_id)
            session.ended_at = max(alive, session.started_at)
            session.status = "failed"
            session.compute_cost = cost.compute(box, alive) - session.compute_before if box is not None else 0.0


def stop(services: Services, sandbox: Sandbox, alive: float, why: str) -> None:
    """A record that says running, or paused, of a sandbox without processes."""
    cost.stop(sandbox, alive)
    sandbox.status = "stopped"
    sandbox.stopped_at = rfc3339(alive)
    services.happened(sandbox, "stop", why)


def _snapshots(services: Services) -> None:
    for snapshot in list(services.store.snapshots.values()):
        if snapshot.status == "pending":
            snapshot.status = "failed"
            snapshot.completed_at = services.clock.timestamp()
            snapshot.file.unlink(missing_ok=True)
            sandbox = services.store.sandboxes.get(snapshot.sandbox_id)
            if sandbox is not None:
                why = f"snapshot {snapshot.name} ({snapshot.id}) failed: the emulator was killed while it was taken"
                services.failed(sandbox, why)
        elif snapshot.status == "completed" and not snapshot.file.exists():
            del services.store.snapshots[snapshot.id]  # somebody has removed its file
            services.log(f"snapshot {snapshot.id} has no file any more; it is forgotten")


def _remove_unknown(services: Services) -> None:
    """Directories of sandboxes that were being made or destroyed, and files of snapshots likewise."""
    store, files = services.store, services.files_dir
    for directory in (files / "sandboxes").iterdir():
        if directory.name not in store.sandboxes:
            _remove(services, directory)
    known = {snapshot_file(files, snapshot_id).name for snapshot_id in store.snapshots}
    for file in (files / "snapshots").iterdir():
        if file.name not in known:
            _remove(services, file)


def _remove(services: Services, path: Path) -> None:
    try:
        if path.is_dir() and not path.is_symlink():
            disk.remove(path)
        else:
            path.unlink()
    except OSError as error:
        services.log(f"{path} cannot be removed: {error.strerror}")
