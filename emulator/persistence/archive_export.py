"""Writes an archive of all accounts, or of one: records, sandboxes' files and snapshots (`archive_file.py`)."""

from __future__ import annotations

import errno
import logging
import os
import secrets
import shutil
from pathlib import Path
from typing import Callable, Optional, TypeVar

from ..cage import copies, crash_recovery, disk, tar_writer
from ..cage.init_client import SandboxGone
from ..output_file import replacement
from ..platform.platform import Platform
from ..store import Sandbox, Store
from .archive_file import PLACES, SYSTEM, WITHOUT_OVERLAYS, Contents, TransferError, pack, write_manifest
from .change_tracker import ChangeTracker
from .codec import snapshot_file
from .database import NAME, Error, merge_journal, open_database
from .recovery import Heartbeat

logger = logging.getLogger(__name__)

T = TypeVar("T")
#: Errors that concern the emulator, not one sandbox.
_EXHAUSTED = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.EROFS, errno.ECANCELED})


def work_directory(platform: Platform, purpose: str) -> Path:
    """Make a directory for the members of an archive."""
    work = platform.run_dir / f"{purpose}-{secrets.token_hex(6)}"
    work.mkdir(mode=0o700)
    (work / "sandboxes").mkdir()
    (work / "snapshots").mkdir()
    return work


async def export_archive(platform: Platform, path: Path, account_id: Optional[str] = None) -> Contents:
    """Write an archive; call it on the emulator's event loop.

    The file appears at `path` complete or not at all, and replaces an existing one. Each sandbox is frozen while its
    files are copied. Sandboxes and snapshots that are still being made are left out. So are sandboxes whose files
    cannot be saved; the reason is in the log, the result and the manifest.

    Args:
        platform: The platform to export.
        path: The file to write.
        account_id: The account to export; None means all accounts.

    Raises:
        TransferError: The account is unknown, or the directory of `path` does not exist.
        OSError: The archive cannot be written.
    """
    return await _Export(platform, account_id).write(path)


class _Export:
    def __init__(self, platform: Platform, account_id: Optional[str]) -> None:
        self._platform = platform
        self._account_id = account_id
        self._left_out: dict[str, str] = {}

    async def write(self, path: Path) -> Contents:
        if self._account_id is not None and self._account_id not in self._platform.store.accounts:
            raise TransferError(f"account {self._account_id} is unknown; nothing was exported")
        path = Path.cwd() / path
        if not path.parent.is_dir():
            raise TransferError(f"{path.parent} is not a directory; make it first")
        work = work_directory(self._platform, "export")
        try:
            with replacement(path, f"{secrets.token_hex(4)}.part") as beside:
                packed = await self._pack_sandboxes(work)
                contents = await self._write_records(work, packed)
                await self._platform.workers.copy.run(pack, work, beside)
            return contents
        finally:
            await self._platform.workers.walk.run(disk.remove, work)

    def _is_exported(self, account_id: str) -> bool:
        return self._account_id in (None, account_id)

    async def _pack_sandboxes(self, work: Path) -> set[str]:
        """Pack the files of all sandboxes. Returns the ids of those that were packed."""
        sandboxes = self._platform.store.sandboxes.values()
        packed = set()
        for sandbox in [box for box in sandboxes if self._is_exported(box.account_id) and box.status != "pending"]:
            try:
                if await self._pack_sandbox(sandbox, work):
                    packed.add(sandbox.id)
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    raise
                reason = self._left_out[sandbox.id] = f"its files cannot be saved: {error}"
                logger.warning("sandbox %s was left out of an export: %s", sandbox.id, reason)
                await self._platform.workers.walk.run(disk.remove, work / "sandboxes" / sandbox.id)
        return packed

    async def _pack_sandbox(self, sandbox: Sandbox, work: Path) -> bool:
        """Pack the files of a sandbox. Returns False if it was destroyed meanwhile."""
        directory = self._platform.files_dir / "sandboxes" / sandbox.id
        copy = self._platform.workers.copy
        target = work / "sandboxes" / sandbox.id
        target.mkdir()
        live = self._platform.live.of(sandbox)
        async with live.workspace_lock:
            if sandbox.status == "destroyed":
                return False
            cage = live.cage
            layout = cage.layout if cage is not None else self._platform.isolation.layout(directory)
            frozen = cage is not None and sandbox.status == "running"
            try:
                if frozen and cage is not None:
                    try:
                        await cage.freeze()
                    except SandboxGone:
                        frozen = False  # without processes, its files do not change
                await copy.run(crash_recovery.require_directory, layout)
                await copy.run(layout.as_root, crash_recovery.recreate_missing_places, layout)
                if layout.overlays:
                    await copy.run(layout.as_root, copies.make_upper_layers, layout)
                for place in PLACES:
                    await copy.run(layout.as_root, tar_writer.pack, layout, target / f"{place}.tar", None, place)
                if layout.overlays:
                    pack = tar_writer.pack_file_system
                    await copy.run(layout.as_root, pack, layout, target / f"{SYSTEM}.tar", None, True)
                elif layout.own_root:
                    message = f"not exported: changes outside of /workspace, /root and /tmp: {WITHOUT_OVERLAYS}"
                    self._platform.recorder.log(sandbox, message)
            finally:
                if frozen and cage is not None and cage.alive and sandbox.status == "running":
                    await cage.thaw()
        return True

    async def _write_records(self, work: Path, packed: set[str]) -> Contents:
        """Write the records and the manifest, and add the files of the snapshots, all of the same moment."""
        heartbeat = Heartbeat.now(self._platform)
        selection = Store()
        connection = open_database(work / NAME)
        try:
            tracker = ChangeTracker(connection, self._platform.alert_history.reported)
            tracker.attach(selection)
            self._select(selection, packed)
            contents = Contents.of(selection)
            contents.left_out = self._left_out
            for snapshot in selection.snapshots.values():
                if snapshot.status == "completed":
                    _link_or_copy(snapshot.file, snapshot_file(work / "snapshots", snapshot.id))
            tracker.collect(selection)
            tracker.set_document("alive", vars(heartbeat))
            write_manifest(work, contents)
            await self._platform.workers.copy.run(tracker.commit)
            await self._platform.workers.copy.run(merge_journal, connection)
        except Error as error:
            raise TransferError(f"the records cannot be written: {error}") from error
        finally:
            connection.close()
        return contents

    def _select(self, selection: Store, packed: set[str]) -> None:
        """Put the records to export into another store."""

        def select(source: dict[str, T], target: dict[str, T], owner: Callable[[T], str]) -> None:
            for identifier, record in source.items():
                if self._is_exported(owner(record)):
                    target[identifier] = record

        store = self._platform.store
        select(store.accounts, selection.accounts, lambda account: account.id)
        select(store.keys, selection.keys, lambda key: key.account_id)
        select(store.logins, selection.logins, lambda login: login.key.account_id)
        select(store.sessions, selection.sessions, lambda session: session.account_id)
        select(store.alerts, selection.alerts, lambda alert: alert.account_id)
        select(store.notifications, selection.notifications, lambda notification: notification.account_id)
        for sandbox in store.sandboxes.values():
            if sandbox.id in packed:
                selection.sandboxes[sandbox.id] = sandbox
        for snapshot in store.snapshots.values():
            if self._is_exported(snapshot.account_id) and snapshot.status != "pending":
                selection.snapshots[snapshot.id] = snapshot


def _link_or_copy(source: Path, target: Path) -> None:
    """Keep the content of a file, even if its snapshot is deleted during the export."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
