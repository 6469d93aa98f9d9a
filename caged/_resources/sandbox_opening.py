"""``caged.sandboxes.open``: a sandbox for the duration of a ``with`` block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Optional

from .. import _arguments as arguments
from .._literals import AgentName, NetworkMode, Template
from .._tracebacks import short_tracebacks
from .sandbox_creation import CREATE_FIELDS, create
from .sockets import AsyncSockets, Sockets

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager, AbstractContextManager

    from .._workspace.async_bound_sandbox import AsyncBoundSandbox
    from .._workspace.bound_sandbox import BoundSandbox


@short_tracebacks
class Openings(Sockets):
    """The socket methods and `open` of `Caged`."""

    @arguments.known_keywords("sandboxes.open")
    def open(
        self,
        template: Template = "minimal",
        *,
        cpus: Optional[int] = None,
        memory_mb: Optional[int] = None,
        disk_gb: Optional[int] = None,
        network_mode: Optional[NetworkMode] = None,
        allowlist: Optional[Sequence[str]] = None,
        env: Optional[Mapping[str, str]] = None,
        repo: Optional[str] = None,
        repo_token: Optional[str] = None,
        repo_branch: Optional[str] = None,
        repo_commit: Optional[str] = None,
        repo_subdir: Optional[str] = None,
        budget: Optional[float] = None,
        init_script: Optional[str] = None,
        secrets: Optional[Sequence[str]] = None,
        timeout: Optional[int] = None,
        packages: Optional[Sequence[str]] = None,
        agents: Optional[Sequence[AgentName]] = None,
        persona_id: Optional[str] = None,
        harness_id: Optional[str] = None,
        keep: bool = False,
    ) -> AbstractContextManager[BoundSandbox]:
        """Create a sandbox for a ``with`` block: ``with caged.sandboxes.open(...) as box``.

        It is created when the block begins, and destroyed when it ends, also by an error. An error of the block is
        raised in any case; when the sandbox cannot be destroyed either, a note on it and the log (``caged.sandboxes``)
        say so.

        Args:
            keep: True does not destroy it; ``box.keep = True`` in the block does the same.

        The other arguments are those of `create`.

        Raises:
            CagedSandboxError: On entering: the sandbox has status ``error``; the message has the end of its log. It is
                destroyed, unless `keep` is True.
            CagedError: An argument of the wrong type, an unknown one, or an empty template; nothing is sent. On
                entering: as for `create`. At the end of the block: the sandbox could not be destroyed.
        """
        from .._workspace.opening import SandboxOpening

        given = {name: value for name, value in locals().items() if name in CREATE_FIELDS}
        return SandboxOpening(self._session, create(template, given), arguments.boolean("keep", keep))


@short_tracebacks
class AsyncOpenings(AsyncSockets):
    """The socket methods and `open` of `AsyncCaged`."""

    @arguments.known_keywords("sandboxes.open")
    def open(
        self,
        template: Template = "minimal",
        *,
        cpus: Optional[int] = None,
        memory_mb: Optional[int] = None,
        disk_gb: Optional[int] = None,
        network_mode: Optional[NetworkMode] = None,
        allowlist: Optional[Sequence[str]] = None,
        env: Optional[Mapping[str, str]] = None,
        repo: Optional[str] = None,
        repo_token: Optional[str] = None,
        repo_branch: Optional[str] = None,
        repo_commit: Optional[str] = None,
        repo_subdir: Optional[str] = None,
        budget: Optional[float] = None,
        init_script: Optional[str] = None,
        secrets: Optional[Sequence[str]] = None,
        timeout: Optional[int] = None,
        packages: Optional[Sequence[str]] = None,
        agents: Optional[Sequence[AgentName]] = None,
        persona_id: Optional[str] = None,
        harness_id: Optional[str] = None,
        keep: bool = False,
    ) -> AbstractAsyncContextManager[AsyncBoundSandbox]:
        """Create a sandbox for an ``async with`` block; see `Openings.open`.

        A block that is cancelled destroys it, too. When the creation is cancelled, its answer is waited for up to 30 s,
        because nothing else says which sandbox to destroy.
        """
        from .._workspace.opening import AsyncSandboxOpening

        given = {name: value for name, value in locals().items() if name in CREATE_FIELDS}
        return AsyncSandboxOpening(self._session, create(template, given), arguments.boolean("keep", keep))
