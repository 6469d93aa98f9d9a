"""A sandbox as a workspace of pydantic-ai."""

from __future__ import annotations

import asyncio
import math
import posixpath
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Optional, Union

from .. import (
    AsyncBoundSandbox,
    AsyncCaged,
    CagedCommandTimeoutError,
    CagedError,
    CagedNotFoundError,
    CagedPathError,
    FileStat,
)
from ._frameworks import missing_framework

try:
    from pydantic_ai.workspaces import (  # type: ignore[import-not-found,unused-ignore]
        CommandResult,
        FileEntry,
        WorkspaceRef,
        WorkspaceTimeoutError,
        WorkspaceUnavailableError,
    )
except ImportError as problem:
    raise missing_framework(__name__, problem) from problem

#: Of a `WorkspaceRef`.
PROVIDER = "caged"
#: Statuses of sandboxes that do not come back.
_GONE = ("destroyed", "error")


class CagedWorkspace:
    """A `WorkspaceBackend` with commands and files: each workspace is a sandbox.

    Nothing is sent before the first operation. It creates the sandbox, or attaches to that of `ref`, which is resumed
    if it is paused. The sandbox is never destroyed: ``await client.sandboxes.destroy(workspace.ref.id)`` does it.

    Args:
        client: Stays open as long as the workspace is used, in one event loop of asyncio.
        ref: A sandbox that exists.
        command_timeout: Seconds, for commands without a timeout of their own.
        options: Of ``client.sandboxes.create``; none together with `ref`.

    Raises:
        ValueError: A ref of another provider, or options together with a ref.
    """

    def __init__(
        self,
        client: AsyncCaged,
        *,
        ref: Optional[WorkspaceRef] = None,
        command_timeout: float = 3600.0,
        **options: Any,
    ) -> None:
        if ref is not None and ref.provider != PROVIDER:
            raise ValueError(f"ref is of provider {ref.provider!r}, not {PROVIDER!r}")
        if ref is not None and options:
            raise ValueError(f"{', '.join(options)} cannot be given with ref, whose sandbox exists")
        self._client = client
        self._ref = ref
        self._options = options
        self._command_timeout = command_timeout
        self._opening: Optional[asyncio.Task[AsyncBoundSandbox]] = None
        self._working_dir: Optional[str] = None

    @property
    def ref(self) -> Optional[WorkspaceRef]:
        """The sandbox; None until one is created."""
        return self._ref

    async def working_dir(self) -> str:
        """The directory in which commands begin, without symbolic links."""
        if self._working_dir is None:
            async with self._sandbox() as box:
                self._working_dir = (await box.run("pwd -P", check=True)).stdout[:-1]
        return self._working_dir

    async def run(
        self,
        command: Union[str, Sequence[str]],
        *,
        shell: bool = False,
        env: Optional[Mapping[str, str]] = None,
        timeout: Optional[float] = None,
    ) -> CommandResult:
        """Run a command; see pydantic-ai's `SupportsCommands`.

        Args:
            command: A list of words, or text for the shell with `shell`.
            shell: Whether `command` is for the shell.
            env: Variables besides those of the sandbox.
            timeout: Seconds; None means the workspace's `command_timeout`.

        Raises:
            TypeError: Text without `shell`, or words with it.
            ValueError: A timeout that is not a positive number, or an empty command.
            WorkspaceTimeoutError: The command took too long, and was ended.
            WorkspaceUnavailableError: The sandbox is gone.
            CagedError: Another failure of the platform; it may be worth another try.
        """
        if isinstance(command, str) != shell:
            raise TypeError("a command that is a string needs shell=True, one that is a list of words shell=False")
        if timeout is not None and not (math.isfinite(timeout) and timeout > 0):
            raise ValueError(f"timeout must be a positive number of seconds or None, not {timeout!r}")
        if not command:
            raise ValueError("command is empty")
        given = command if isinstance(command, str) else list(command)
        limit = self._command_timeout if timeout is None else timeout
        async with self._sandbox() as box:
            try:
                result = await box.run(given, env=env, timeout=limit)
            except CagedCommandTimeoutError as error:
                raise WorkspaceTimeoutError(str(error), stdout=error.stdout, stderr=error.stderr) from error
        return CommandResult(exit_code=result.exit_code, stdout=result.stdout, stderr=result.stderr)

    async def read_bytes(self, path: str) -> bytes:
        """Read a whole file."""
        async with self._sandbox() as box:
            return await box.read_bytes(path)

    async def write_bytes(self, path: str, data: bytes) -> None:
        """Write a file and the directories that it needs."""
        async with self._sandbox() as box:
            await box.write(path, data)

    async def stat(self, path: str) -> FileEntry:
        """Describe a file or directory; links are followed."""
        async with self._sandbox() as box:
            return _entry(path, await box.stat(path))

    async def list_dir(self, path: str) -> list[FileEntry]:
        """List the entries of a directory."""
        async with self._sandbox() as box:
            return [_entry(found.path, await _target(box, found)) for found in await box.list(path)]

    async def make_dir(self, path: str) -> None:
        """Make a directory and those above it, unless it exists."""
        async with self._sandbox() as box:
            await box.mkdir(path, parents=True, exist_ok=True)

    async def remove(self, path: str) -> None:
        """Remove a file, a link, or a directory with its content.

        Raises:
            ValueError: It holds the working directory.
        """
        root = await self.working_dir()
        async with self._sandbox() as box:
            # Links on the way to the path are followed, as by the removal; the path itself may be one.
            command = ["sh", "-c", 'cd -- "$1" 2>/dev/null&&pwd -P', "sh", posixpath.dirname(path)]
            parent = (await box.run(command)).stdout[:-1]
            target = posixpath.join(parent, posixpath.basename(path))
            if parent and f"{root}/".startswith(f"{target.rstrip('/')}/"):
                raise ValueError(f"{path} holds the working directory {root}, and is not removed")
            await box.remove(path, recursive=True)

    async def exists(self, path: str) -> bool:
        """Return whether a path leads to something."""
        async with self._sandbox() as box:
            return await box.exists(path)

    @asynccontextmanager
    async def _sandbox(self) -> AsyncIterator[AsyncBoundSandbox]:
        """The sandbox, for a block whose errors become pydantic-ai's if the sandbox cannot be used any more."""
        if self._opening is None or (self._opening.done() and _failed(self._opening)):
            self._opening = asyncio.ensure_future(self._attach() if self._ref is not None else self._create())
        # One that is cancelled does not end what others wait for.
        box = await asyncio.shield(self._opening)
        try:
            yield box
        except CagedPathError:
            raise
        except CagedError as error:
            await self._check_available(box.id, error)
            raise

    async def _check_available(self, sandbox_id: str, error: CagedError) -> None:
        try:
            status = (await self._client.sandboxes.get(sandbox_id)).status
        except CagedNotFoundError:
            status = "destroyed"
        except CagedError:
            return
        if status in _GONE:
            raise WorkspaceUnavailableError(f"sandbox {sandbox_id} has status {status}") from error

    async def _create(self) -> AsyncBoundSandbox:
        sandbox = await self._client.sandboxes.create(**self._options)
        self._ref = WorkspaceRef(provider=PROVIDER, id=sandbox.id)
        if sandbox.status == "error":
            raise WorkspaceUnavailableError(f"the creation of sandbox {sandbox.id} ended in an error; see its log")
        return self._client.sandboxes.bind(sandbox.id)

    async def _attach(self) -> AsyncBoundSandbox:
        assert self._ref is not None
        try:
            sandbox = await self._client.sandboxes.get(self._ref.id)
            if sandbox.status == "paused":
                await self._client.sandboxes.resume(sandbox.id)
        except CagedNotFoundError as error:
            raise WorkspaceUnavailableError(f"there is no sandbox {self._ref.id}") from error
        if sandbox.status in _GONE:
            raise WorkspaceUnavailableError(f"sandbox {sandbox.id} has status {sandbox.status}")
        return self._client.sandboxes.bind(sandbox.id)


def _failed(task: asyncio.Task[AsyncBoundSandbox]) -> bool:
    return task.cancelled() or task.exception() is not None


def _entry(path: str, found: FileStat) -> FileEntry:
    name = posixpath.basename(posixpath.normpath(path))
    return FileEntry(name=name, path=path, is_dir=found.is_dir, size=found.size if found.is_file else None)


async def _target(box: AsyncBoundSandbox, found: FileStat) -> FileStat:
    """What an entry of a directory leads to; a link that leads nowhere is described itself."""
    if not found.is_symlink:
        return found
    try:
        return await box.stat(found.path)
    except CagedPathError:
        return found
