"""A sandbox as a workspace of pydantic-ai."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from typing import Any, Optional, Union

from .. import AsyncBoundSandbox, AsyncCaged, CagedCommandTimeoutError, CagedError, CagedNotFoundError
from ._frameworks import missing_framework

try:
    from pydantic_ai.workspaces import (  # type: ignore[import-not-found,unused-ignore]
        CommandResult,
        WorkspaceRef,
        WorkspaceTimeoutError,
        WorkspaceUnavailableError,
    )
except ImportError as problem:
    raise missing_framework(__name__, problem) from problem

#: Of a `WorkspaceRef`.
PROVIDER = "caged"


class CagedWorkspace:
    """A `WorkspaceBackend` with commands: each workspace is a sandbox.

    Nothing is sent before the first operation. It creates the sandbox, or attaches to that of `ref`, which is resumed
    if it is paused. The sandbox is never destroyed: ``await client.sandboxes.destroy(workspace.ref.id)`` does it.

    Args:
        client: Stays open as long as the workspace is used.
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
        """The sandbox's own directory, without symbolic links."""
        box = await self._box()
        if self._working_dir is None:
            self._working_dir = (await self._result(box, "pwd -P", None, self._command_timeout)).stdout.rstrip("\n")
        return self._working_dir

    async def run(
        self,
        command: Union[str, Sequence[str]],
        *,
        shell: bool = False,
        env: Optional[Mapping[str, str]] = None,
        timeout: Optional[float] = None,
    ) -> CommandResult:
        """Run a command; see pydantic-ai's `SupportsCommands.run`."""
        if isinstance(command, str) != shell:
            raise TypeError("a command that is a string needs shell=True, one that is a list of words shell=False")
        if timeout is not None and not (math.isfinite(timeout) and timeout > 0):
            raise ValueError(f"timeout must be a positive number of seconds or None, not {timeout!r}")
        if not command:
            raise ValueError("command is empty")
        given = command if isinstance(command, str) else list(command)
        limit = self._command_timeout if timeout is None else timeout
        return await self._result(await self._box(), given, env, limit)

    async def _result(
        self, box: AsyncBoundSandbox, command: Union[str, list[str]], env: Optional[Mapping[str, str]], timeout: float
    ) -> CommandResult:
        try:
            result = await box.run(command, env=env, timeout=timeout)
        except CagedCommandTimeoutError as error:
            raise WorkspaceTimeoutError(str(error), stdout=error.stdout, stderr=error.stderr) from error
        except CagedError as error:
            await self._check_available(box.id, error)
            raise
        return CommandResult(exit_code=result.exit_code, stdout=result.stdout, stderr=result.stderr)

    async def _check_available(self, sandbox_id: str, error: CagedError) -> None:
        """Raise another error if the sandbox cannot be used any more; transient ones are the caller's."""
        try:
            status = (await self._client.sandboxes.get(sandbox_id)).status
        except CagedNotFoundError:
            status = "destroyed"
        except CagedError:
            return
        if status in ("destroyed", "error"):
            raise WorkspaceUnavailableError(f"sandbox {sandbox_id} has status {status}") from error

    async def _box(self) -> AsyncBoundSandbox:
        """The sandbox, created or attached to once; a caller that is cancelled does not end what others wait for."""
        if self._opening is None or (self._opening.done() and self._failed(self._opening)):
            self._opening = asyncio.ensure_future(self._attach() if self._ref is not None else self._create())
        return await asyncio.shield(self._opening)

    @staticmethod
    def _failed(task: asyncio.Task[AsyncBoundSandbox]) -> bool:
        return task.cancelled() or task.exception() is not None

    async def _create(self) -> AsyncBoundSandbox:
        sandbox = await self._client.sandboxes.create(**self._options)
        self._ref = WorkspaceRef(provider=PROVIDER, id=sandbox.id)
        if sandbox.status == "error":
            raise WorkspaceUnavailableError(f"the creation of sandbox {sandbox.id} ended in an error")
        return self._client.sandboxes.bind(sandbox.id)

    async def _attach(self) -> AsyncBoundSandbox:
        assert self._ref is not None
        try:
            sandbox = await self._client.sandboxes.get(self._ref.id)
            if sandbox.status == "paused":
                await self._client.sandboxes.resume(sandbox.id)
        except CagedNotFoundError as error:
            raise WorkspaceUnavailableError(f"there is no sandbox {self._ref.id}") from error
        if sandbox.status in ("destroyed", "error"):
            raise WorkspaceUnavailableError(f"sandbox {sandbox.id} has status {sandbox.status}")
        return self._client.sandboxes.bind(sandbox.id)
