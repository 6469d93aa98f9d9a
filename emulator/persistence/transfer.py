"""Everything of an emulator, or of one account, in one file, and back: records, sandboxes' files, snapshots.

manifest.json                        what this is
state.db                             the records, as in a state directory
sandboxes/<id>/<place>.tar           workspace, root and tmp, in the sandbox's own terms
snapshots/<id>.tar
"""

from __future__ import annotations

import errno
import json
import logging
import os
import secrets
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Optional, TypeVar

from ..cage import archive, crash_recovery, disk
from ..cage.process import SandboxGone
from ..platform.platform import Platform
from ..store import Sandbox, Store
from . import loading, recovery, unpacking
from .change_tracker import ChangeTracker
from .codec import snapshot_file
from .database import NAME, Error, into_one_file, open_database
from .foreign import foreign_database
from .unpacking import PLACES, TransferError, pack_up

logger = logging.getLogger(__name__)

__all__ = ["Contents", "Transfer", "TransferError"]

T = TypeVar("T")
#: What keeps the emulator, and not one sandbox, from writing.
_EXHAUSTED = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.EROFS, errno.ECANCELED})


@dataclass
class Contents:
    """The ids of what an archive holds. `left_out`: sandboxes whose files could not be saved, with the reason."""

    accounts: list[str] = field(default_factory=list)
    sandboxes: list[str] = field(default_factory=list)
    snapshots: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)


class Transfer:
    """Both calls belong to the emulator's loop."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    # --- out

    async def export(self, path: Path, account_id: Optional[str] = None) -> Contents:
        """Writes a `.tar.gz` that appears at `path` complete or not at all, in place of what is there. Each sandbox is
        held still while its files are copied. What is not ready (a sandbox that is being made, a snapshot that is
        being taken) is left out; so is a sandbox whose files cannot be saved, with the reason in the log, the result
        and the manifest. TransferError, OSError."""
        if account_id is not None and account_id not in self._platform.store.accounts:
            raise TransferError(f"account {account_id} is unknown; nothing was exported")
        path = Path.cwd() / path
        if not path.parent.is_dir():
            raise TransferError(f"{path.parent} is no directory; make it first")
        work = self._work_directory("export")
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
        try:
            packed, left_out = await self._pack_all(account_id, work)
            contents = await self._write_records(work, account_id, packed, left_out)
            await self._platform.workers.copy.run(pack_up, work, temporary)
            os.replace(temporary, path)
            return contents
        finally:
            temporary.unlink(missing_ok=True)
            await self._platform.workers.walk.run(disk.remove, work)

    async def _pack_all(self, account_id: Optional[str], work: Path) -> tuple[set[str], dict[str, str]]:
        """The ids of the sandboxes that were packed, and why others could not be."""
        packed, left_out = set(), {}
        for box in self._boxes(account_id):
            try:
                if await self._pack(box, work):
                    packed.add(box.id)
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    raise
                left_out[box.id] = f"its files cannot be saved: {error}"
                logger.warning("sandbox %s was left out of an export: %s", box.id, left_out[box.id])
                await self._platform.workers.walk.run(disk.remove, work / "sandboxes" / box.id)
        return packed, left_out

    def _work_directory(self, purpose: str) -> Path:
        work = self._platform.run_dir / f"{purpose}-{secrets.token_hex(6)}"
        work.mkdir(mode=0o700)
        (work / "sandboxes").mkdir()
        (work / "snapshots").mkdir()
        return work

    def _boxes(self, account_id: Optional[str]) -> list[Sandbox]:
        boxes = self._platform.store.sandboxes.values()
        return [box for box in boxes if account_id in (None, box.account_id) and box.status != "pending"]

    async def _pack(self, sandbox: Sandbox, work: Path) -> bool:
        """False when it was destroyed meanwhile."""
        directory = self._platform.files_dir / "sandboxes" / sandbox.id
        target = work / "sandboxes" / sandbox.id
        target.mkdir()
        live = self._platform.live.of(sandbox)
        async with live.workspace_lock:
            if sandbox.status == "destroyed":
                return False
            cage = live.cage
            layout = cage.layout if cage is not None else self._platform.isolation.layout(directory)
            held = cage is not None and sandbox.status == "running"
            try:
                if held and cage is not None:
                    try:
                        await cage.freeze()
                    except SandboxGone:
                        held = False  # its files are as still as they get
                await self._platform.workers.copy.run(crash_recovery.complete, layout)
                for place in PLACES:
                    await self._platform.workers.copy.run(archive.pack, layout, target / f"{place}.tar", None, place)
            finally:
                if held and cage is not None and cage.alive and sandbox.status == "running":
                    await cage.thaw()
        return True

    async def _write_records(
        self, work: Path, account_id: Optional[str], packed: set[str], left_out: dict[str, str]
    ) -> Contents:
        """All of one moment."""
        store, alive = self._platform.store, recovery.Alive.now(self._platform)
        chosen = Store()
        connection = open_database(work / NAME)
        try:
            book = ChangeTracker(connection, self._platform.alert_triggers.reported)
            book.watch(chosen)
            contents = _choose(store, chosen, account_id, packed)
            contents.left_out = left_out
            for snapshot in chosen.snapshots.values():
                if snapshot.status == "completed":
                    _link_or_copy(snapshot.file, snapshot_file(work / "snapshots", snapshot.id))
            book.collect(chosen)
            book.document("alive", vars(alive))
            manifest = {"format": unpacking.FORMAT, "version": unpacking.VERSION, **vars(contents)}
            (work / unpacking.MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
            await self._platform.workers.copy.run(book.write)
            await self._platform.workers.copy.run(into_one_file, connection)
        except Error as error:
            raise TransferError(f"the records cannot be written: {error}") from error
        finally:
            connection.close()
        return contents

    # --- in

    async def import_(self, path: Path) -> Contents:
        """Adds what an archive holds; its sandboxes are stopped. All of it or, with a TransferError that says why,
        nothing: an id, key or address that is here already refuses the whole."""
        work = self._work_directory("import")
        made: list[Path] = []
        try:
            await self._platform.workers.copy.run(unpacking.unpack, Path(path), work)
            loaded = await self._platform.workers.copy.run(self._read, work)
            self._check(loaded.store, work)
            await self._place(loaded.store, work, made)
            self._refuse_taken(loaded.store)  # something may have been made meanwhile
            self._merge(loaded)
            made.clear()
            self._platform.commit()
        finally:
            for path in made:
                await self._platform.workers.walk.run(disk.remove, path)
                if path.is_file():
                    path.unlink()
            await self._platform.workers.walk.run(disk.remove, work)
        return _contents(loaded.store)

    def _read(self, work: Path) -> _Loaded:
        """Blocks."""
        try:
            with foreign_database(work / NAME) as connection:
                alive = recovery.Alive.read(loading.documents(connection)["alive"])
                return _Loaded(loading.load(connection, self._platform.files_dir / "snapshots"), alive)
        except Exception as error:  # whatever a damaged record leads to; nothing has been changed yet
            raise TransferError(f"the archive's records cannot be read: {loading.reason(error)}") from error

    def _check(self, store: Store, work: Path) -> None:
        """That the archive is whole, and that there is room for it here."""
        for identifier in (*store.sandboxes, *store.snapshots):
            if not unpacking.IDENTIFIER.fullmatch(identifier):
                raise TransferError(f"the archive is damaged: {identifier!r} is no id")
        for box in store.sandboxes.values():
            if not (work / "sandboxes" / box.id / "workspace.tar").is_file():
                raise TransferError(f"the archive is damaged: the files of sandbox {box.id} are missing")
        for snapshot in store.snapshots.values():
            if snapshot.status == "completed" and not snapshot_file(work / "snapshots", snapshot.id).is_file():
                raise TransferError(f"the archive is damaged: the file of snapshot {snapshot.id} is missing")
        owners = {box.account_id for box in store.sandboxes.values()}
        owners |= {snapshot.account_id for snapshot in store.snapshots.values()}
        owners |= {session.account_id for session in store.sessions.values()}
        owners |= {alert.account_id for alert in store.alerts.values()}
        owners |= {note.account_id for note in store.notifications.values()}
        if not owners <= store.accounts.keys():
            raise TransferError("the archive is damaged: it has records of accounts that are not in it")
        self._refuse_taken(store)

    def _refuse_taken(self, store: Store) -> None:
        """Before anything changes."""
        here = self._platform.store
        taken = [
            *(f"account {name}" for name in store.accounts if name in here.accounts),
            *(f"sandbox {name}" for name in store.sandboxes if name in here.sandboxes),
            *(f"snapshot {name}" for name in store.snapshots if name in here.snapshots),
            *(f"session {name}" for name in store.sessions if name in here.sessions),
            *(f"alert {name}" for name in store.alerts if name in here.alerts),
            *(f"notification {name}" for name in store.notifications if name in here.notifications),
        ]
        key_ids = {key.id for key in here.keys.values()}
        taken += [f"API key {key.id}" for secret, key in store.keys.items() if secret in here.keys or key.id in key_ids]
        logins = {login.id for login in here.logins.values()}
        taken += [
            f"login {login.id}" for token, login in store.logins.items() if token in here.logins or login.id in logins
        ]
        emails = {account.email for account in here.accounts.values()}
        taken += [f"e-mail address {a.email}" for a in store.accounts.values() if a.email in emails]
        if taken:
            more = f" and {len(taken) - 5} more" if len(taken) > 5 else ""
            raise TransferError(
                f"nothing was imported: {', '.join(taken[:5])}{more} are here already; import into an emulator without"
                " them, such as a fresh one with another seed"
            )

    async def _place(self, store: Store, work: Path, made: list[Path]) -> None:
        """The files, where they will be; `made` says what there is to be removed again."""
        files, isolation = self._platform.files_dir, self._platform.isolation
        for box in store.sandboxes.values():
            layout = isolation.layout(files / "sandboxes" / box.id)
            if layout.directory.exists():
                raise TransferError(f"nothing was imported: {layout.directory} is there already")
            made.append(layout.directory)
            try:
                await self._platform.workers.copy.run(unpacking.furnish, layout, work / "sandboxes" / box.id)
            except OSError as error:
                raise TransferError(f"nothing was imported: the files of sandbox {box.id}: {error}") from error
        for snapshot in store.snapshots.values():
            if snapshot.status == "completed":
                if snapshot.file.exists():
                    raise TransferError(f"nothing was imported: {snapshot.file} is there already")
                made.append(snapshot.file)
                os.replace(snapshot_file(work / "snapshots", snapshot.id), snapshot.file)

    def _merge(self, loaded: _Loaded) -> None:
        """At once: whoever looks sees all of it or nothing."""
        here, new = self._platform.store, loaded.store
        here.accounts.update(new.accounts)
        here.keys.update(new.keys)
        here.logins.update(new.logins)
        here.sandboxes.update(new.sandboxes)
        _put_all(new.sessions, here.sessions)
        _put_all(new.snapshots, here.snapshots)
        _put_all(new.alerts, here.alerts)
        _put_all(new.notifications, here.notifications)
        for place, causes in loaded.told.items():
            self._platform.alert_triggers.remember(place, causes)
        self._platform.alert_triggers.restore(new)
        recovery.end_sessions(new, loaded.alive)
        for box in new.sandboxes.values():
            if box.status in ("running", "paused"):
                recovery.stop(self._platform, box, loaded.alive, "stopped: imported; resume the sandbox to go on")


class _Loaded:
    def __init__(self, loaded: loading.Loaded, alive: recovery.Alive) -> None:
        self.store, self.told, self.alive = loaded.store, loaded.told, alive


def _choose(store: Store, chosen: Store, account_id: Optional[str], packed: set[str]) -> Contents:
    """Copies what an archive gets from one to the other."""

    def mine(owner: str) -> bool:
        return account_id in (None, owner)

    def pick(source: dict[str, T], target: dict[str, T], owner: Callable[[T], str]) -> None:
        for identifier, record in source.items():
            if mine(owner(record)):
                target[identifier] = record

    pick(store.accounts, chosen.accounts, lambda account: account.id)
    pick(store.keys, chosen.keys, lambda key: key.account_id)
    pick(store.logins, chosen.logins, lambda login: login.key.account_id)
    pick(store.sessions, chosen.sessions, lambda session: session.account_id)
    pick(store.alerts, chosen.alerts, lambda alert: alert.account_id)
    pick(store.notifications, chosen.notifications, lambda note: note.account_id)
    pick(store.sandboxes, chosen.sandboxes, lambda box: box.account_id)
    for identifier in [name for name in chosen.sandboxes if name not in packed]:
        del chosen.sandboxes[identifier]
    for snapshot in store.snapshots.values():
        if mine(snapshot.account_id) and snapshot.status != "pending":
            chosen.snapshots[snapshot.id] = snapshot
    return _contents(chosen)


def _contents(store: Store) -> Contents:
    return Contents(list(store.accounts), list(store.sandboxes), list(store.snapshots))


def _put_all(source: dict[str, T], target: dict[str, T]) -> None:
    for identifier, record in source.items():
        target[identifier] = record


def _link_or_copy(source: Path, target: Path) -> None:
    """The file cannot go away any more, whatever happens to the snapshot."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
