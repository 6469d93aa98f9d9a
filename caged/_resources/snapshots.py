"""Snapshots: take, look up, wait for, restore, download, delete."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Optional

from .. import _arguments as arguments
from .. import _timing
from .._call import Call, ExpectedContent, ignore
from .._constants import SNAPSHOT_POLL_FIRST, SNAPSHOT_POLL_LONGEST, SNAPSHOT_WAIT_TIMEOUT
from .._core import CallPlan, Pause, perform
from .._errors import CagedError, CagedTimeoutError
from .._http import AsyncSession, Session
from .._models.snapshots import Snapshot, SnapshotDownload
from .._settings import Settings
from .._tracebacks import short_tracebacks
from .sandbox_calls import at as sandbox_at

# The method named `list` hides the builtin inside the classes.
SnapshotList = list[Snapshot]


def list_(sandbox_id: str) -> Call[SnapshotList]:
    path = sandbox_at(sandbox_id, "/snapshots")
    return Call("GET", path, ExpectedContent.ARRAY, Snapshot.list_from_api, repeatable=True)


def create(sandbox_id: str, name: Optional[str], description: Optional[str]) -> Call[Snapshot]:
    body: dict[str, Any] = {}
    if name == "":
        raise CagedError("name is empty; leave it out for one that the platform chooses")
    for key, value in (("name", name), ("description", description)):
        checked = arguments.optional_text(key, value)
        if checked:
            body[key] = checked
    return Call("POST", sandbox_at(sandbox_id, "/snapshots"), ExpectedContent.OBJECT, Snapshot.from_api, body=body)


def get(snapshot_id: str) -> Call[Snapshot]:
    return Call("GET", at(snapshot_id), ExpectedContent.OBJECT, Snapshot.from_api, repeatable=True)


def delete(snapshot_id: str) -> Call[None]:
    return Call("DELETE", at(snapshot_id), ExpectedContent.NOTHING, ignore, repeatable=True)


def download(snapshot_id: str) -> Call[SnapshotDownload]:
    path = at(snapshot_id, "/download")
    return Call("GET", path, ExpectedContent.OBJECT, SnapshotDownload.from_api, repeatable=True)


def download_url(snapshot_id: str) -> Call[str]:
    path = at(snapshot_id, "/download")
    return Call("GET", path, ExpectedContent.OBJECT, _url, repeatable=True)


def _url(data: Any) -> str:
    url = SnapshotDownload.from_api(data).url
    if not url:
        raise CagedError("the answer holds no url")
    return url


def restore_into(snapshot_id: str, target_sandbox_id: str) -> Call[None]:
    target = arguments.text("target_sandbox_id", target_sandbox_id)
    if not target:
        raise CagedError("target_sandbox_id is empty; leave it out to restore the snapshot's own sandbox")
    body = {"target_sandbox_id": target}
    return Call("POST", at(snapshot_id, "/restore"), ExpectedContent.NOTHING, ignore, body=body)


def restore(settings: Settings, snapshot_id: str, target_sandbox_id: Optional[str]) -> CallPlan[None]:
    """Restore. The API requires a target; without one, the sandbox of the snapshot is looked up."""
    if target_sandbox_id is None:
        snapshot = yield from perform(settings, get(snapshot_id))
        if not snapshot.sandbox_id:
            raise CagedError("the API does not say which sandbox the snapshot is of; pass target_sandbox_id")
        target_sandbox_id = snapshot.sandbox_id
    yield from perform(settings, restore_into(snapshot_id, target_sandbox_id))


def wait(settings: Settings, snapshot_id: str, timeout: Optional[float]) -> CallPlan[Snapshot]:
    """Request the snapshot, less and less often, until it is not pending any more."""
    call = get(snapshot_id)
    limit = arguments.seconds("timeout", timeout)
    deadline = None if limit is None else _timing.now() + limit
    too_late = CagedTimeoutError(f"{call}: the snapshot is still pending after {limit}s", timeout=limit)
    pause = SNAPSHOT_POLL_FIRST
    while True:
        if deadline is not None:
            left = max(deadline - _timing.now(), 0.001)
            call = replace(call, timeout=left if settings.timeout is None else min(left, settings.timeout))
        try:
            snapshot = yield from perform(settings, call, deadline)
        except CagedTimeoutError:
            if deadline is not None and _timing.now() >= deadline:
                raise too_late from None
            raise
        if snapshot.status == "failed":
            raise CagedError(f"snapshot {snapshot.id or snapshot_id} failed; the sandbox's log may say why")
        if snapshot.status != "pending":
            return snapshot
        if deadline is not None:
            left = deadline - _timing.now()
            if left <= 0:
                raise too_late
            pause = min(pause, left)
        yield Pause(pause)
        pause = min(pause * 1.5, SNAPSHOT_POLL_LONGEST)


def at(snapshot_id: str, rest: str = "") -> str:
    """The path of a snapshot, or of something below it."""
    return f"/snapshots/{arguments.segment('snapshot_id', snapshot_id)}{rest}"


@short_tracebacks
class Snapshots:
    """``caged.snapshots``: copies of ``/workspace`` that outlive their sandbox."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def list(self, sandbox_id: str) -> SnapshotList:
        """All snapshots of one sandbox."""
        return self._session.send(list_(sandbox_id))

    def create(self, sandbox_id: str, name: Optional[str] = None, description: Optional[str] = None) -> Snapshot:
        """Begin a snapshot; it comes back ``pending``, see `wait`.

        Raises:
            CagedPlanLimitError: The sandbox has as many as the plan allows.
            CagedError: `name` is empty; nothing is sent.
        """
        return self._session.send(create(sandbox_id, name, description))

    def get(self, snapshot_id: str) -> Snapshot:
        """One snapshot as it is now."""
        return self._session.send(get(snapshot_id))

    def wait(self, snapshot_id: str, timeout: Optional[float] = SNAPSHOT_WAIT_TIMEOUT) -> Snapshot:
        """Wait until a snapshot is not pending any more, and return it.

        Args:
            timeout: Seconds for the whole wait; None means no limit.

        Raises:
            CagedError: The snapshot failed.
            CagedTimeoutError: It is still pending when the time is up.
        """
        return self._session.run(wait(self._session.settings, snapshot_id, timeout))

    def restore(self, snapshot_id: str, target_sandbox_id: Optional[str] = None) -> None:
        """Replace a running sandbox's whole workspace by the snapshot.

        Args:
            target_sandbox_id: Any sandbox of the account; None means the one the snapshot was taken of.

        Raises:
            CagedNotFoundError: No such snapshot or sandbox.
            CagedAPIError: 409, the snapshot is not completed or the sandbox not running.
        """
        self._session.run(restore(self._session.settings, snapshot_id, target_sandbox_id))

    def delete(self, snapshot_id: str) -> None:
        """Delete a snapshot for good."""
        self._session.send(delete(snapshot_id))

    def download(self, snapshot_id: str) -> SnapshotDownload:
        """The URL of the snapshot as a ``.tar.gz``, and its expiry."""
        return self._session.send(download(snapshot_id))

    def download_url(self, snapshot_id: str) -> str:
        """The URL of `download`."""
        return self._session.send(download_url(snapshot_id))


@short_tracebacks
class AsyncSnapshots:
    """``caged.snapshots`` of `AsyncCaged`; every method is described in `Snapshots`."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def list(self, sandbox_id: str) -> SnapshotList:
        """See `Snapshots.list`."""
        return await self._session.send(list_(sandbox_id))

    async def create(self, sandbox_id: str, name: Optional[str] = None, description: Optional[str] = None) -> Snapshot:
        """See `Snapshots.create`."""
        return await self._session.send(create(sandbox_id, name, description))

    async def get(self, snapshot_id: str) -> Snapshot:
        """See `Snapshots.get`."""
        return await self._session.send(get(snapshot_id))

    async def wait(self, snapshot_id: str, timeout: Optional[float] = SNAPSHOT_WAIT_TIMEOUT) -> Snapshot:
        """See `Snapshots.wait`."""
        return await self._session.run(wait(self._session.settings, snapshot_id, timeout))

    async def restore(self, snapshot_id: str, target_sandbox_id: Optional[str] = None) -> None:
        """See `Snapshots.restore`."""
        await self._session.run(restore(self._session.settings, snapshot_id, target_sandbox_id))

    async def delete(self, snapshot_id: str) -> None:
        """See `Snapshots.delete`."""
        await self._session.send(delete(snapshot_id))

    async def download(self, snapshot_id: str) -> SnapshotDownload:
        """See `Snapshots.download`."""
        return await self._session.send(download(snapshot_id))

    async def download_url(self, snapshot_id: str) -> str:
        """See `Snapshots.download_url`."""
        return await self._session.send(download_url(snapshot_id))
