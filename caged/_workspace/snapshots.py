"""Snapshots of a bound sandbox, and copies of it made with one."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Optional, TypeVar, Union

from .. import _arguments as arguments
from .._call import Call
from .._constants import SNAPSHOT_WAIT_TIMEOUT
from .._core import CallPlan, perform
from .._errors import CagedError
from .._models.files import GitDiff
from .._models.sandboxes import Sandbox, SandboxCreateParams
from .._models.snapshots import Snapshot
from .._resources import files, snapshots
from .._resources.sandbox_creation import create
from .._tracebacks import short_tracebacks
from .binding import AsyncBound, Binding, Bound
from .cancellation import uninterrupted
from .failed_creation import CREATION_PATIENCE, creation_error, remove
from .lifecycle import info

B = TypeVar("B", bound="WorkspaceSnapshots")
A = TypeVar("A", bound="AsyncWorkspaceSnapshots")
_log = logging.getLogger("caged.sandboxes")

# What the API returns of a sandbox, and another one can be created with. Not the repository and the init script: they
# may need variables and a token that it does not return, and what they made is in the snapshot.
_REPORTED = ("template", "cpus", "memory_mb", "disk_gb", "network_mode", "budget", "timeout")


def snapshot(binding: Binding, name: Any, description: Any, timeout: Any) -> CallPlan[Snapshot]:
    """Take a snapshot, and wait until it is completed."""
    arguments.seconds("timeout", timeout)
    begun = yield from perform(binding.settings, snapshots.create(binding.sandbox_id, name, description))
    return (yield from snapshots.wait(binding.settings, begun.id, timeout))


def restore(binding: Binding, wanted: Any) -> CallPlan[None]:
    snapshot_id = wanted.id if isinstance(wanted, Snapshot) else wanted
    yield from perform(binding.settings, snapshots.restore_into(snapshot_id, binding.sandbox_id))


@dataclass
class Forking:
    """What a fork has made so far: to be removed when it fails."""

    snapshot_id: Optional[str] = None
    made: list[Sandbox] = field(default_factory=list)


def prepare(binding: Binding, n: Any, params: Any) -> CallPlan[Call[Sandbox]]:
    """Check the arguments of a fork. Returns the call that creates one sandbox."""
    if arguments.integer("n", n) < 1:
        raise CagedError(f"n is {n}; a fork makes at least one sandbox")
    if params is not None and not isinstance(params, SandboxCreateParams):
        raise CagedError(f"params must be a SandboxCreateParams, not {type(params).__name__}")
    options: Mapping[str, Any]
    if params is not None:
        options = vars(params)
    elif binding.opened is not None:
        options = binding.opened.options
    else:
        sandbox = yield from info(binding)
        options = {name: getattr(sandbox, name) for name in _REPORTED}
    return create(options.get("template"), {name: value for name, value in options.items() if name != "template"})


def begin(binding: Binding, forking: Forking) -> CallPlan[str]:
    """Begin the snapshot. Returns its id."""
    begun = yield from perform(binding.settings, snapshots.create(binding.sandbox_id, None, None))
    forking.snapshot_id = begun.id
    return begun.id


def add(binding: Binding, call: Call[Sandbox], forking: Forking) -> CallPlan[Sandbox]:
    """Create one sandbox."""
    sandbox = yield from perform(binding.settings, call)
    forking.made.append(sandbox)
    return sandbox


def fill(binding: Binding, snapshot_id: str, sandbox: Sandbox) -> CallPlan[None]:
    """Restore the snapshot into one sandbox."""
    if sandbox.status == "error":
        raise (yield from creation_error(binding.settings, sandbox, "it is destroyed"))
    yield from perform(binding.settings, snapshots.restore_into(snapshot_id, sandbox.id))


def remove_snapshot(binding: Binding, forking: Forking) -> CallPlan[None]:
    """Delete the snapshot of a fork. A failure is logged."""
    from .._api_errors import CagedNotFoundError

    if forking.snapshot_id is None:
        return
    try:
        yield from perform(binding.settings, snapshots.delete(forking.snapshot_id))
    except CagedNotFoundError:
        pass
    except CagedError as problem:
        _log.warning("snapshot %s could not be deleted and may still exist: %s", forking.snapshot_id, problem)


def undo(binding: Binding, forking: Forking, error: BaseException) -> CallPlan[None]:
    """Remove what a fork has made that failed with an error."""
    for sandbox in forking.made:
        yield from remove(binding.settings, sandbox.id, error)
    yield from remove_snapshot(binding, forking)


@short_tracebacks
class WorkspaceSnapshots(Bound):
    """Snapshots, diffs and forks of a bound sandbox."""

    def snapshot(
        self,
        name: Optional[str] = None,
        *,
        description: Optional[str] = None,
        timeout: Optional[float] = SNAPSHOT_WAIT_TIMEOUT,
    ) -> Snapshot:
        """Take a snapshot, and wait until it is completed.

        Args:
            name: None means one that the platform chooses.
            description: A text to keep with it.
            timeout: Seconds to wait, default 60; None means no limit.

        Raises:
            CagedPlanLimitError: The sandbox has as many as the plan allows.
            CagedTimeoutError: It is not completed in time.
            CagedError: It failed, or an argument cannot be used.
        """
        return self._run(snapshot(self._binding, name, description, timeout))

    def restore(self, snapshot: Union[str, Snapshot]) -> None:
        """Replace what is in the sandbox by a snapshot of it, or of another sandbox of the account.

        Processes go on, but what is known of those that `start` has started since the snapshot is replaced, too:
        `processes` does not list them, and `Process.poll` raises `CagedProcessLostError`. `Process.kill` ends them.

        Args:
            snapshot: What `snapshot` returned, or an id.

        Raises:
            CagedNotFoundError: No such snapshot.
            CagedAPIError: 409, the snapshot is not completed, or the sandbox is not running.
        """
        self._run(restore(self._binding, snapshot))

    def diff(self, path: Optional[str] = None) -> GitDiff:
        """The uncommitted changes of a git work tree in the sandbox.

        Args:
            path: A directory of the work tree, of which the changes below it are returned; their paths begin at the
                work tree's root. A relative one is below ``/workspace``; None means ``/workspace``.

        Returns:
            An empty diff where the emulator finds no repository: the contract of the API does not say what then comes.

        Raises:
            CagedNotFoundError: The sandbox or the path does not exist.
            CagedAPIError: 409, the sandbox is not running.
        """
        return self._session.send(files.git_diff(self.id, path))

    def fork(self: B, n: int = 1, *, params: Optional[SandboxCreateParams] = None) -> list[B]:
        """Create sandboxes with the content of this one: a snapshot of it, restored into each and then deleted.

        They are created one after another. What a snapshot does not have, such as processes, they do not have either.
        Nothing destroys them but ``destroy()``. If one cannot be created, those before it are destroyed.

        Args:
            n: How many.
            params: What to create them with. None means the arguments of `open`, for a sandbox that was opened; for
                another one what the API returns of it: template, cpus, memory_mb, disk_gb, network_mode, budget and
                timeout.

        Raises:
            CagedSandboxError: One of them has status ``error``; the message has the end of its log.
            CagedPlanLimitError: The plan allows no further sandbox or snapshot.
        """
        call = self._run(prepare(self._binding, n, params))
        forking = Forking()
        try:
            snapshot_id = self._run(begin(self._binding, forking))
            self._run(snapshots.wait(self._session.settings, snapshot_id, SNAPSHOT_WAIT_TIMEOUT))
            for _ in range(n):
                sandbox = self._run(add(self._binding, call, forking))
                self._run(fill(self._binding, snapshot_id, sandbox))
        except BaseException as error:
            self._run(undo(self._binding, forking, error))
            raise
        self._run(remove_snapshot(self._binding, forking))
        return [type(self)(self._session, sandbox) for sandbox in forking.made]


@short_tracebacks
class AsyncWorkspaceSnapshots(AsyncBound):
    """Snapshots, diffs and forks of a bound sandbox; every method is described in `WorkspaceSnapshots`."""

    async def snapshot(
        self,
        name: Optional[str] = None,
        *,
        description: Optional[str] = None,
        timeout: Optional[float] = SNAPSHOT_WAIT_TIMEOUT,
    ) -> Snapshot:
        """See `WorkspaceSnapshots.snapshot`."""
        return await self._run(snapshot(self._binding, name, description, timeout))

    async def restore(self, snapshot: Union[str, Snapshot]) -> None:
        """See `WorkspaceSnapshots.restore`."""
        await self._run(restore(self._binding, snapshot))

    async def diff(self, path: Optional[str] = None) -> GitDiff:
        """See `WorkspaceSnapshots.diff`."""
        return await self._session.send(files.git_diff(self.id, path))

    async def fork(self: A, n: int = 1, *, params: Optional[SandboxCreateParams] = None) -> list[A]:
        """See `WorkspaceSnapshots.fork`. When it is cancelled, what it has made is removed."""
        call = await self._run(prepare(self._binding, n, params))
        forking = Forking()
        try:
            snapshot_id = await uninterrupted(self._run(begin(self._binding, forking)), CREATION_PATIENCE)
            await self._run(snapshots.wait(self._session.settings, snapshot_id, SNAPSHOT_WAIT_TIMEOUT))
            for _ in range(n):
                sandbox = await uninterrupted(self._run(add(self._binding, call, forking)), CREATION_PATIENCE)
                await self._run(fill(self._binding, snapshot_id, sandbox))
        except BaseException as error:
            await uninterrupted(self._run(undo(self._binding, forking, error)))
            raise
        await uninterrupted(self._run(remove_snapshot(self._binding, forking)))
        return [type(self)(self._session, sandbox) for sandbox in forking.made]
