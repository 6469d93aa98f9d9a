"""Sandboxes: create, list, look up, pause, resume, destroy, run commands, read logs, ports, trust scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Optional, Union

from .. import _arguments as arguments
from .._http import AsyncSession, Session
from .._literals import AgentName, NetworkMode, Template
from .._models.sandboxes import ExecResult, LogEntry, Port, Sandbox, TrustScoreSummary
from .._tracebacks import short_tracebacks
from .sandbox_calls import destroy, exec_, get, list_, logs, pause, ports, resume, trust_scores
from .sandbox_creation import CREATE_FIELDS, create
from .sandbox_opening import AsyncOpenings, Openings

if TYPE_CHECKING:
    from .._workspace.async_bound_sandbox import AsyncBoundSandbox
    from .._workspace.bound_sandbox import BoundSandbox

# The methods named `list` hide the builtin inside the classes.
SandboxList = list[Sandbox]
LogList = list[LogEntry]
PortList = list[Port]
TrustScoreList = list[TrustScoreSummary]


@short_tracebacks
class Sandboxes(Openings):
    """``caged.sandboxes``"""

    def __init__(self, session: Session) -> None:
        self._session = session

    @arguments.known_keywords("sandboxes.create")
    def create(
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
    ) -> Sandbox:
        """Create a sandbox and wait until it is ready: repository cloned, packages and agents installed.

        None and empty lists and dicts are not sent, so that the platform's default applies; 0 and "" are sent.
        Waits up to 360 s for the answer. When a clone or `init_script` fails, the sandbox has status ``error``.

        Args:
            template: One of minimal, node-20, node-22, python-311, python-312, desktop, ...; an unknown one is
                refused by the API with the list of valid ones.
            cpus: 1-8, default 2.
            memory_mb: 128-8192, default 512; raised to 1024 when agents are installed.
            disk_gb: 1-50, default 5.
            network_mode: One of full (default), none, allowlist, which needs `allowlist`.
            allowlist: Hosts the sandbox may reach.
            env: Environment of every command.
            repo: git URL cloned into ``/workspace``.
            repo_token, repo_branch, repo_commit, repo_subdir: How to clone it; a commit wins over a branch.
            budget: US dollars; the sandbox is paused when they are spent.
            init_script: Shell command run after the clone.
            secrets: Names of `env` variables whose values are redacted in logs.
            timeout: Idle seconds until the sandbox pauses itself (default 900). Not the HTTP timeout.
            packages: Installed at boot.
            agents: Installed at boot, e.g. ``["claude"]``.
            persona_id, harness_id: Ids whose settings apply.

        Raises:
            CagedValidationError: The API refuses a value.
            CagedPlanLimitError: The plan allows no further sandbox.
            CagedError: An argument of the wrong type, an unknown one, or an empty template; nothing is sent.
        """
        given = {name: value for name, value in locals().items() if name in CREATE_FIELDS}
        return self._session.send(create(template, given))

    def list(self) -> SandboxList:
        """All sandboxes of the account that are not destroyed."""
        return self._session.send(list_())

    def get(self, sandbox_id: str) -> Sandbox:
        """One sandbox, as it is now.

        Raises:
            CagedNotFoundError: It is unknown or destroyed.
        """
        return self._session.send(get(sandbox_id))

    def pause(self, sandbox_id: str) -> None:
        """Pause a running sandbox; it costs nothing until it is resumed.

        Raises:
            CagedAPIError: 409, it is not running.
        """
        self._session.send(pause(sandbox_id))

    def resume(self, sandbox_id: str) -> None:
        """Resume a paused sandbox.

        Raises:
            CagedAPIError: 409, it is not paused, or its budget is spent.
        """
        self._session.send(resume(sandbox_id))

    def destroy(self, sandbox_id: str) -> None:
        """Delete a sandbox and everything in it, for good; its snapshots stay."""
        self._session.send(destroy(sandbox_id))

    def exec(self, sandbox_id: str, command: str, *, timeout: Optional[float] = None) -> ExecResult:
        """Run a shell command in ``/workspace`` and wait until it exits.

        A non-zero exit does not raise: see `ExecResult.ok`. A sandbox that cannot run the command sets
        `ExecResult.error`.

        Args:
            command: For ``bash -c``; pipes, redirects and several lines work.
            timeout: Seconds to wait for the answer, default 300; never sent to the platform.

        Raises:
            CagedTimeoutError: No answer in time.
        """
        return self._session.send(exec_(sandbox_id, command, timeout))

    def logs(self, sandbox_id: str, tail: Optional[int] = None) -> LogList:
        """The newest `tail` entries of the sandbox's log, oldest first; without `tail` the platform's 100."""
        return self._session.send(logs(sandbox_id, tail))

    def ports(self, sandbox_id: str) -> PortList:
        """The ports on which the sandbox's programs listen, with their preview URLs."""
        return self._session.send(ports(sandbox_id))

    def trust_scores(self, sandbox_id: str) -> TrustScoreList:
        """The trust score of each agent session of the sandbox."""
        return self._session.send(trust_scores(sandbox_id))

    def bind(self, sandbox_id: Union[str, Sandbox]) -> BoundSandbox:
        """One sandbox as an object, with helpers for commands and files. Nothing is sent.

        Args:
            sandbox_id: An id, or what `create`, `get` or `list` returned, whose fields the object has then.
        """
        from .._workspace.bound_sandbox import BoundSandbox

        return BoundSandbox(self._session, sandbox_id)


@short_tracebacks
class AsyncSandboxes(AsyncOpenings):
    """``caged.sandboxes`` of `AsyncCaged`; every method is described in `Sandboxes`."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    @arguments.known_keywords("sandboxes.create")
    async def create(
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
    ) -> Sandbox:
        """Create a sandbox and wait until it is ready; see `Sandboxes.create`."""
        given = {name: value for name, value in locals().items() if name in CREATE_FIELDS}
        return await self._session.send(create(template, given))

    async def list(self) -> SandboxList:
        """See `Sandboxes.list`."""
        return await self._session.send(list_())

    async def get(self, sandbox_id: str) -> Sandbox:
        """See `Sandboxes.get`."""
        return await self._session.send(get(sandbox_id))

    async def pause(self, sandbox_id: str) -> None:
        """See `Sandboxes.pause`."""
        await self._session.send(pause(sandbox_id))

    async def resume(self, sandbox_id: str) -> None:
        """See `Sandboxes.resume`."""
        await self._session.send(resume(sandbox_id))

    async def destroy(self, sandbox_id: str) -> None:
        """See `Sandboxes.destroy`."""
        await self._session.send(destroy(sandbox_id))

    async def exec(self, sandbox_id: str, command: str, *, timeout: Optional[float] = None) -> ExecResult:
        """See `Sandboxes.exec`."""
        return await self._session.send(exec_(sandbox_id, command, timeout))

    async def logs(self, sandbox_id: str, tail: Optional[int] = None) -> LogList:
        """See `Sandboxes.logs`."""
        return await self._session.send(logs(sandbox_id, tail))

    async def ports(self, sandbox_id: str) -> PortList:
        """See `Sandboxes.ports`."""
        return await self._session.send(ports(sandbox_id))

    async def trust_scores(self, sandbox_id: str) -> TrustScoreList:
        """See `Sandboxes.trust_scores`."""
        return await self._session.send(trust_scores(sandbox_id))

    def bind(self, sandbox_id: Union[str, Sandbox]) -> AsyncBoundSandbox:
        """See `Sandboxes.bind`."""
        from .._workspace.async_bound_sandbox import AsyncBoundSandbox

        return AsyncBoundSandbox(self._session, sandbox_id)
