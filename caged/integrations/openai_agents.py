"""A sandbox as a sandbox of the OpenAI Agents SDK.

client = CagedSandboxClient()
session = await client.create(options=CagedSandboxClientOptions(template="python-312"))
run_config = RunConfig(sandbox=SandboxRunConfig(session=session))
"""

from __future__ import annotations

import io
import shlex
import uuid
from pathlib import Path
from typing import Any, Literal, Optional, Union
from urllib.parse import urlsplit

from .. import (
    AsyncBoundSandbox,
    AsyncCaged,
    CagedAPIError,
    CagedConnectionError,
    CagedError,
    CagedFileNotFoundError,
    CagedNotFoundError,
    CagedRateLimitError,
    CagedServerError,
    CagedTimeoutError,
    RunResult,
)
from .._constants import LONGEST_TIMEOUT
from ._frameworks import missing_framework
from ._programs import program_line

try:
    from agents.sandbox.errors import (  # type: ignore[import-not-found,unused-ignore]
        ExecTimeoutError,
        ExecTransportError,
        ExposedPortUnavailableError,
        MountConfigError,
        WorkspaceArchiveReadError,
        WorkspaceArchiveWriteError,
        WorkspaceReadNotFoundError,
        WorkspaceStartError,
        WorkspaceWriteTypeError,
    )
    from agents.sandbox.manifest import Manifest  # type: ignore[import-not-found,unused-ignore]
    from agents.sandbox.session import (  # type: ignore[import-not-found,unused-ignore]
        BaseSandboxClient,
        BaseSandboxClientOptions,
        BaseSandboxSession,
        SandboxSession,
        SandboxSessionState,
    )
    from agents.sandbox.session.runtime_helpers import (  # type: ignore[import-not-found,unused-ignore]
        RESOLVE_WORKSPACE_PATH_HELPER,
        RuntimeHelperScript,
    )
    from agents.sandbox.session.tar_workspace import (  # type: ignore[import-not-found,unused-ignore]
        shell_tar_exclude_args,
    )
    from agents.sandbox.snapshot import (  # type: ignore[import-not-found,unused-ignore]
        SnapshotBase,
        SnapshotSpec,
        resolve_snapshot,
    )
    from agents.sandbox.types import (  # type: ignore[import-not-found,unused-ignore]
        ExecResult,
        ExposedPortEndpoint,
        User,
    )
    from agents.sandbox.util.tar_utils import (  # type: ignore[import-not-found,unused-ignore]
        UnsafeTarMemberError,
        validate_tar_bytes,
    )

    from ._create_options import CreateOptions
except ImportError as problem:
    raise missing_framework(__name__, problem) from problem

#: Of a state that was saved.
_TYPE = "caged"
# Seconds until a program listens on a port.
_PORT_TIMEOUT = 30.0


class CagedSandboxClientOptions(CreateOptions, BaseSandboxClientOptions):  # type: ignore[misc,unused-ignore]
    """The options of ``caged.sandboxes.create``, and these.

    Attributes:
        exposed_ports: Ports that `resolve_exposed_port` may be called with.
        pause_on_exit: The sandbox is paused at the end of a session, and can be resumed from its state. False destroys
            it.
    """

    type: Literal["caged"] = "caged"
    exposed_ports: tuple[int, ...] = ()
    pause_on_exit: bool = False


class CagedSandboxSessionState(SandboxSessionState):  # type: ignore[misc,unused-ignore]
    """What resumes a session."""

    type: Literal["caged"] = "caged"
    sandbox_id: str
    options: CagedSandboxClientOptions


class CagedSandboxSession(BaseSandboxSession):  # type: ignore[misc,unused-ignore]
    """A session whose commands and files are in a sandbox.

    Commands have no terminal, and none stays in the background of a call (`supports_pty` is False).

    Args:
        state: With the id of the sandbox.
        box: That sandbox.
    """

    state: CagedSandboxSessionState

    def __init__(self, state: CagedSandboxSessionState, box: AsyncBoundSandbox) -> None:
        self.state = state
        self.box = box

    async def running(self) -> bool:
        """Return whether the sandbox runs."""
        try:
            return (await self.box.info()).status == "running"
        except CagedError:
            return False

    def _runtime_helpers(self) -> tuple[RuntimeHelperScript, ...]:
        return (RESOLVE_WORKSPACE_PATH_HELPER,)

    async def _validate_path_access(self, path: Union[Path, str], *, for_write: bool = False) -> Path:
        valid: Path = await self._validate_remote_path_access(path, for_write=for_write)
        return valid

    async def _prepare_backend_workspace(self) -> None:
        try:
            await self.box.mkdir(self.state.manifest.root, parents=True, exist_ok=True)
        except CagedError as error:
            raise WorkspaceStartError(path=Path(self.state.manifest.root), cause=error, message=str(error)) from error

    async def _shutdown_backend(self) -> None:
        try:
            await (self.box.pause() if self.state.options.pause_on_exit else self.box.destroy())
        except CagedAPIError as error:
            if error.status not in (404, 409):  # it is gone, or paused already
                raise

    def _prepare_exec_command(
        self, *command: Union[str, Path], shell: Union[bool, list[str]], user: Optional[Union[str, User]]
    ) -> list[str]:
        # A login shell would set the PATH anew; and a sandbox need not have `sudo`.
        chosen = ["sh", "-c"] if shell is True else shell
        words: list[str] = super()._prepare_exec_command(*command, shell=chosen, user=None)
        if user is None:
            return words
        return ["su", "-s", "/bin/sh", "-c", f"exec {shlex.join(words)}", "--", _name(user)]

    async def _exec_internal(self, *command: Union[str, Path], timeout: Optional[float] = None) -> ExecResult:
        words = [str(word) for word in command]
        result = await self._run(program_line(words), shown=words, timeout=timeout)
        return ExecResult(stdout=result.stdout_bytes, stderr=result.stderr_bytes, exit_code=result.exit_code)

    async def _run(
        self,
        command: Union[str, list[str]],
        *,
        shown: Optional[list[str]] = None,
        stdin: Optional[bytes] = None,
        user: Optional[str] = None,
        timeout: Optional[float] = None,
    ) -> RunResult:
        """Run a command; `shown` is what errors call it, None means by itself."""
        environment = await self.state.manifest.environment.resolve()
        limit = LONGEST_TIMEOUT if timeout is None else max(timeout, 0.001)
        if shown is None:
            shown = [command] if isinstance(command, str) else command
        try:
            return await self.box.run(
                command, cwd=self.state.manifest.root, env=environment, stdin=stdin, user=user, timeout=limit
            )
        except CagedTimeoutError as error:
            raise ExecTimeoutError(command=shown, timeout_s=timeout, cause=error) from error
        except CagedError as error:
            raise ExecTransportError(
                command=shown,
                context={"backend": _TYPE},
                cause=error,
                message=str(error),
                retryable=_is_retryable(error),
            ) from error

    async def read(self, path: Union[Path, str], *, user: Optional[Union[str, User]] = None) -> io.IOBase:
        """Read a file of the workspace; see `BaseSandboxSession.read`."""
        shown = Path(path)
        if user is None:
            found = await self._validate_path_access(path)
        else:
            found = await self._check_read_with_exec(path, user=user)
        try:
            return io.BytesIO(await self.box.read_bytes(found.as_posix()))
        except CagedFileNotFoundError as error:
            raise WorkspaceReadNotFoundError(path=shown, cause=error) from error
        except CagedError as error:
            raise WorkspaceArchiveReadError(path=shown, cause=error, retryable=_is_retryable(error)) from error

    async def _read_bounded(self, path: Path, *, max_bytes: int) -> bytes:
        found = await self._validate_path_access(path)
        result = await self._run(["head", "-c", str(max_bytes), found.as_posix()])
        if not result.ok:
            await self.read(path)  # raises what is wrong
            raise WorkspaceArchiveReadError(path=path)
        return result.stdout_bytes

    async def write(self, path: Union[Path, str], data: io.IOBase, *, user: Optional[Union[str, User]] = None) -> None:
        """Write a file of the workspace; see `BaseSandboxSession.write`."""
        payload = _payload(Path(path), data)
        if user is None:
            target = await self._validate_path_access(path, for_write=True)
            try:
                await self.box.write(target.as_posix(), payload)
            except CagedError as error:
                raise WorkspaceArchiveWriteError(path=target, cause=error, retryable=_is_retryable(error)) from error
            return
        target = await self._check_write_with_exec(path, user=user)
        script = 'mkdir -p -- "${1%/*}"&&cat >"$1"'
        result = await self._run(["sh", "-c", script, "sh", target.as_posix()], stdin=payload, user=_name(user))
        if not result.ok:
            raise WorkspaceArchiveWriteError(path=target, context={"stderr": result.stderr})

    async def persist_workspace(self) -> io.IOBase:
        """Return the workspace as an archive."""
        root = self._workspace_root_path()
        excludes = " ".join(shell_tar_exclude_args(self._persist_workspace_skip_relpaths()))
        result = await self._run(f"tar {excludes} -C {shlex.quote(root.as_posix())} -cf - .")
        if not result.ok:
            raise WorkspaceArchiveReadError(path=root, context={"reason": "tar_failed", "stderr": result.stderr})
        return io.BytesIO(result.stdout_bytes)

    async def hydrate_workspace(self, data: io.IOBase) -> None:
        """Extract an archive into the workspace."""
        root = self._workspace_root_path()
        payload = _payload(root, data)
        try:
            validate_tar_bytes(payload, allow_external_symlink_targets=False)
        except UnsafeTarMemberError as error:
            context = {"reason": "unsafe_or_invalid_tar", "member": error.member, "detail": str(error)}
            raise WorkspaceArchiveWriteError(path=root, context=context, cause=error) from error
        await self._prepare_backend_workspace()
        result = await self._run(["tar", "-C", root.as_posix(), "-xf", "-"], stdin=payload)
        if not result.ok:
            context = {"reason": "tar_extract_failed", "stderr": result.stderr}
            raise WorkspaceArchiveWriteError(path=root, context=context)

    async def _resolve_exposed_port(self, port: int) -> ExposedPortEndpoint:
        try:
            url = urlsplit(await self.box.wait_for_port(port, timeout=_PORT_TIMEOUT))
        except CagedError as error:
            raise self._no_port(port, str(error), error) from error
        if url.hostname is None:
            raise self._no_port(port, "it has no preview URL: the platform does not take it for an HTTP port")
        tls = url.scheme == "https"
        return ExposedPortEndpoint(host=url.hostname, port=url.port or (443 if tls else 80), tls=tls)

    def _no_port(self, port: int, detail: str, cause: Optional[Exception] = None) -> Exception:
        error: Exception = ExposedPortUnavailableError(
            port=port,
            exposed_ports=self.state.exposed_ports,
            reason="backend_unavailable",
            context={"backend": _TYPE, "detail": detail},
            cause=cause,
        )
        return error


class CagedSandboxClient(BaseSandboxClient[CagedSandboxClientOptions]):  # type: ignore[misc,unused-ignore]
    """Creates sessions, each with a sandbox of its own.

    Args:
        client: Stays open as long as a session is used. None makes one from ``CAGED_API_KEY`` and ``CAGED_BASE_URL``,
            which `aclose` closes.
        instrumentation, dependencies: See `BaseSandboxClient`.
    """

    backend_id = _TYPE
    supports_default_options = True

    def __init__(
        self, client: Optional[AsyncCaged] = None, *, instrumentation: Any = None, dependencies: Any = None
    ) -> None:
        self._client = client or AsyncCaged()
        self._owns_client = client is None
        self._instrumentation = instrumentation
        self._dependencies = dependencies

    async def create(
        self,
        *,
        snapshot: Optional[Union[SnapshotSpec, SnapshotBase]] = None,
        manifest: Optional[Manifest] = None,
        options: Optional[CagedSandboxClientOptions] = None,
    ) -> SandboxSession:
        """Create a sandbox, and a session that destroys it at its end.

        Args:
            snapshot: Where the workspace is kept.
            manifest: What the workspace has at the beginning. Mounts are not supported.
            options: None means the defaults.

        Raises:
            MountConfigError: The manifest has mounts.
            CagedError: The sandbox cannot be created.
        """
        settings = options or CagedSandboxClientOptions()
        contents = _without_mounts(self._validate_manifest_for_create(manifest or Manifest()))
        box = await self._new_sandbox(settings)
        session_id = uuid.uuid4()
        state = CagedSandboxSessionState(
            session_id=session_id,
            manifest=contents,
            snapshot=resolve_snapshot(snapshot, str(session_id)),
            exposed_ports=settings.exposed_ports,
            sandbox_id=box.id,
            options=settings,
        )
        return self._wrap_session(CagedSandboxSession(state, box), instrumentation=self._instrumentation)

    async def resume(self, state: SandboxSessionState) -> SandboxSession:
        """Continue a session in its sandbox, or in a new one with the workspace of its snapshot.

        Raises:
            TypeError: The state is another client's.
            CagedError: The sandbox cannot be resumed or created.
        """
        if not isinstance(state, CagedSandboxSessionState):
            raise TypeError(f"CagedSandboxClient resumes a CagedSandboxSessionState, not {type(state).__name__}")
        state.assert_path_grants_rebound()
        _without_mounts(state.manifest)
        found = await self._resumed(state.sandbox_id)
        box = found or await self._new_sandbox(state.options)
        if found is None:
            state.sandbox_id = box.id
            state.workspace_root_ready = False
        session = CagedSandboxSession(state, box)
        session._set_start_state_preserved(found is not None)
        return self._wrap_session(session, instrumentation=self._instrumentation)

    async def delete(self, session: SandboxSession) -> SandboxSession:
        """Destroy the sandbox of a session, or pause it, see `CagedSandboxClientOptions`."""
        inner = session._inner
        if not isinstance(inner, CagedSandboxSession):
            raise TypeError(f"CagedSandboxClient deletes sessions of its own, not {type(inner).__name__}")
        await inner.shutdown()
        return session

    def deserialize_session_state(self, payload: dict[str, object]) -> SandboxSessionState:
        """Read a state that `serialize_session_state` has written."""
        return self._deserialize_session_state_payload(payload, CagedSandboxSessionState)

    async def aclose(self) -> None:
        """Close the client of Caged, unless it is the caller's."""
        if self._owns_client:
            await self._client.aclose()

    async def _new_sandbox(self, options: CagedSandboxClientOptions) -> AsyncBoundSandbox:
        async with self._client.sandboxes.open(**options.create_arguments()) as box:
            box.keep = True  # from now on, the session destroys it
            return box

    async def _resumed(self, sandbox_id: str) -> Optional[AsyncBoundSandbox]:
        """The sandbox, running; None if there is no such sandbox any more."""
        try:
            status = (await self._client.sandboxes.get(sandbox_id)).status
        except CagedNotFoundError:
            return None
        if status == "paused":
            await self._client.sandboxes.resume(sandbox_id)
        elif status != "running":
            return None
        return self._client.sandboxes.bind(sandbox_id)


def _without_mounts(manifest: Manifest) -> Manifest:
    if manifest.mount_targets():
        raise MountConfigError(message="a sandbox of Caged has no mounts; copy the files, or clone a repository")
    return manifest


def _payload(path: Path, data: io.IOBase) -> bytes:
    payload: Any = data.read()  # type: ignore[attr-defined,unused-ignore]
    if isinstance(payload, str):
        return payload.encode()
    if not isinstance(payload, (bytes, bytearray)):
        raise WorkspaceWriteTypeError(path=path, actual_type=type(payload).__name__)
    return bytes(payload)


def _name(user: Union[str, User]) -> str:
    return user if isinstance(user, str) else str(user.name)


def _is_retryable(error: CagedError) -> Optional[bool]:
    """Whether the same call may succeed later; None if it is not known."""
    if isinstance(error, (CagedConnectionError, CagedServerError, CagedRateLimitError, CagedTimeoutError)):
        return True
    return False if isinstance(error, CagedAPIError) else None
