"""Adds the content of an archive to an emulator (`archive_file.py`)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from ..cage import disk, hosts_file
from ..platform.platform import Platform
from ..platform.redaction import learn_secrets
from ..store import Store
from . import archive_ids, recovery
from .archive_database import open_archive_database
from .archive_export import work_directory
from .archive_file import WITHOUT_OVERLAYS, Contents, TransferError, extract_sandbox, unpack
from .codec import check_documents, snapshot_file
from .database import NAME
from .field_validation import DamagedRecord
from .loader import LoadedState, describe_failure, load_documents, load_state

T = TypeVar("T")
_STOPPED = "stopped: imported; resume the sandbox to go on"


async def import_archive(platform: Platform, path: Path) -> Contents:
    """Add the content of an archive; call it on the emulator's event loop. The sandboxes are stopped.

    Raises:
        TransferError: The file is not an export, is damaged, or has an account that cannot be added: another one has
            its id, address or one of its keys. Nothing was imported.
        OSError: The files cannot be written. Nothing was imported.
    """
    return await _Import(platform).run(path)


class _Import:
    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        #: Files and directories to remove if the import fails.
        self._placed: list[Path] = []
        #: By sandbox: names in its root whose changes it cannot have here.
        self._left_out: dict[str, list[str]] = {}
        #: The ids that records have here, by those in the archive, where the two differ; and the other way round.
        self._new_ids: dict[str, str] = {}
        self._old_ids: dict[str, str] = {}

    async def run(self, path: Path) -> Contents:
        copy, walk = self._platform.workers.copy, self._platform.workers.walk
        work = work_directory(self._platform, "import")
        try:
            await copy.run(unpack, Path(path), work)
            state, heartbeat = await copy.run(self._read, work)
            _check_files(state.store, work)
            _check_owners(state.store)
            async with self._platform.import_lock:  # which ids are free is decided before their files are there
                return await self._add(state, heartbeat, work)
        finally:
            await walk.run(disk.remove, work)

    async def _add(self, state: LoadedState, heartbeat: recovery.Heartbeat, work: Path) -> Contents:
        """Add what was read, or nothing."""
        copy, walk = self._platform.workers.copy, self._platform.workers.walk
        contents = Contents(accounts=list(state.store.accounts))
        here = self._platform.store
        try:
            self._check_accounts(state.store)
            known = archive_ids.take_out_accounts(state, here)
            self._new_ids = archive_ids.choose_other_ids(state.store, here, self._platform.randomness)
            self._old_ids = {new: old for old, new in self._new_ids.items()}
            await copy.run(archive_ids.replace_ids, state, self._new_ids)
            contents.sandboxes, contents.snapshots = list(state.store.sandboxes), list(state.store.snapshots)
            await self._place_files(state.store, work)
            self._check_unchanged(state.store, known)
            self._merge(state, heartbeat)
            self._placed.clear()
            self._platform.commit()
            return contents
        finally:
            for placed in self._placed:
                await walk.run(disk.remove, placed)
                if placed.is_file():
                    placed.unlink()

    def _read(self, work: Path) -> tuple[LoadedState, recovery.Heartbeat]:
        """Read the records. Blocks."""
        try:
            with open_archive_database(work / NAME) as connection:
                documents = load_documents(connection)
                check_documents(documents)
                if "alive" not in documents:
                    raise DamagedRecord("document alive is missing")
                state = load_state(connection, self._platform.files_dir / "snapshots")
                _check_pending(state.store)
                return state, recovery.Heartbeat.decode(documents["alive"])
        except Exception as error:  # a damaged record leads to many kinds of errors; nothing has been changed yet
            raise TransferError(f"the archive's records cannot be read: {describe_failure(error)}") from error

    def _check_accounts(self, store: Store) -> None:
        conflicts = list(_conflicts(store, self._platform.store))
        if conflicts:
            more = f" and {len(conflicts) - 5} more" if len(conflicts) > 5 else ""
            raise TransferError(
                f"nothing was imported: {', '.join(conflicts[:5])}{more}; import into an emulator without them, such as"
                " a fresh one with another seed"
            )

    def _check_unchanged(self, store: Store, known: list[str]) -> None:
        """Check that what was decided by the records of this emulator still holds: they may have changed meanwhile."""
        here = self._platform.store
        self._check_accounts(store)
        is_known = all(identifier in here.accounts for identifier in known)
        if not is_known or any(one in here.accounts for one in store.accounts) or archive_ids.clash(store, here):
            raise TransferError("nothing was imported: accounts were changed meanwhile; import again")

    async def _place_files(self, store: Store, work: Path) -> None:
        """Put the files of sandboxes and snapshots where the emulator expects them."""
        isolation = self._platform.isolation
        for sandbox in store.sandboxes.values():
            layout = isolation.layout(self._platform.files_dir / "sandboxes" / sandbox.id)
            self._add_placed(layout.directory)
            try:
                old_id = self._old_ids.get(sandbox.id, sandbox.id)
                source = work / "sandboxes" / old_id
                copy = self._platform.workers.copy
                self._left_out[sandbox.id] = await copy.run(layout.as_root, extract_sandbox, layout, source)
                if layout.overlays and old_id != sandbox.id:
                    await copy.run(layout.as_root, hosts_file.rename, layout.changed / "etc", sandbox.id)
            except OSError as error:
                raise TransferError(f"nothing was imported: the files of sandbox {sandbox.id}: {error}") from error
        for snapshot in store.snapshots.values():
            if snapshot.status == "completed":
                self._add_placed(snapshot.file)
                old_id = self._old_ids.get(snapshot.id, snapshot.id)
                os.replace(snapshot_file(work / "snapshots", old_id), snapshot.file)

    def _add_placed(self, path: Path) -> None:
        if path.exists():
            raise TransferError(f"nothing was imported: {path} is there already")
        self._placed.append(path)

    def _merge(self, state: LoadedState, heartbeat: recovery.Heartbeat) -> None:
        """Add the records to the store, without an interruption in which other requests could see a part of them."""
        here, imported = self._platform.store, state.store
        here.accounts.update(imported.accounts)
        here.keys.update(imported.keys)
        here.logins.update(imported.logins)
        here.sandboxes.update(imported.sandboxes)
        _put_all(imported.sessions, here.sessions)
        _put_all(imported.snapshots, here.snapshots)
        _put_all(imported.alerts, here.alerts)
        _put_all(imported.notifications, here.notifications)
        for place, causes in state.alert_causes.items():
            self._platform.alert_history.remember(place, causes)
        self._platform.alert_history.restore(imported)
        recovery.end_sessions(imported, heartbeat)
        for sandbox in imported.sandboxes.values():
            learn_secrets(self._platform.journal, sandbox)
            if sandbox.status in ("running", "paused"):
                recovery.stop(self._platform, sandbox, heartbeat, _STOPPED)
            if old_id := self._old_ids.get(sandbox.id):
                self._platform.recorder.log(sandbox, f"imported as {sandbox.id}: {old_id} existed already")
            if names := self._left_out.get(sandbox.id):
                paths = ", ".join(f"/{name}" for name in names)
                self._platform.recorder.log(sandbox, f"not imported: changes in {paths}: {WITHOUT_OVERLAYS}")


def _check_pending(store: Store) -> None:
    """Raise DamagedRecord for what is still being made: an export leaves it out, and nothing would finish it."""
    for kind, records in (("sandbox", store.sandboxes), ("snapshot", store.snapshots)):
        for record in records.values():
            if record.status == "pending":
                raise DamagedRecord(f"{kind} {record.id}: status must not be 'pending' in an archive")


def _check_files(store: Store, work: Path) -> None:
    for sandbox in store.sandboxes.values():
        if not (work / "sandboxes" / sandbox.id / "workspace.tar").is_file():
            raise TransferError(f"the archive is damaged: the files of sandbox {sandbox.id} are missing")
    for snapshot in store.snapshots.values():
        if snapshot.status == "completed" and not snapshot_file(work / "snapshots", snapshot.id).is_file():
            raise TransferError(f"the archive is damaged: the file of snapshot {snapshot.id} is missing")


def _check_owners(store: Store) -> None:
    collections: tuple[dict[str, Any], ...] = (
        store.sandboxes,
        store.snapshots,
        store.sessions,
        store.alerts,
        store.notifications,
    )
    owners = {record.account_id for records in collections for record in records.values()}
    if not owners <= store.accounts.keys():
        raise TransferError("the archive is damaged: it has records of accounts that are not in it")


def _conflicts(imported: Store, here: Store) -> Iterator[str]:
    """Yield why accounts cannot be added. One that is here already is not added, and so none of its keys and logins."""
    added = imported.accounts.keys() - here.accounts.keys()
    for account in imported.accounts.values():
        if account.id not in added and account.email != here.accounts[account.id].email:
            yield f"account {account.id} is here already, with another e-mail address"
    key_ids = {key.id for key in here.keys.values()}
    for secret, key in imported.keys.items():
        if key.account_id in added and (secret in here.keys or key.id in key_ids):
            yield f"API key {key.id} is here already"
    login_ids = {login.id for login in here.logins.values()}
    for token, login in imported.logins.items():
        if login.key.account_id in added and (token in here.logins or login.id in login_ids):
            yield f"login {login.id} is here already"
    emails = {account.email for account in here.accounts.values()}
    for account in imported.accounts.values():
        if account.id in added and account.email in emails:
            yield f"e-mail address {account.email} is here already, of another account"


def _put_all(source: dict[str, T], target: dict[str, T]) -> None:
    """Put the records one by one: the target may be a `TrackedDict`."""
    for identifier, record in source.items():
        target[identifier] = record
