"""A sandbox as a sandbox environment of Inspect.

Inspect finds it by an entry point of this package:

    Task(..., sandbox="caged")
    Task(..., sandbox=SandboxEnvironmentSpec("caged", CagedSandboxConfig(template="python-312")))
    Task(..., sandbox=("caged", "sandbox.yaml"))  # a file with such settings; --sandbox caged:sandbox.yaml

The key and the address of the API come from ``CAGED_API_KEY`` and ``CAGED_BASE_URL``.
"""

from __future__ import annotations

import errno
import os
import posixpath
from contextlib import AsyncExitStack
from typing import Any, Literal, Optional, Union, overload

from .. import (
    AsyncBoundSandbox,
    AsyncCaged,
    CagedAPIError,
    CagedAuthError,
    CagedCommandTimeoutError,
    CagedConnectionError,
    CagedError,
    CagedPlanLimitError,
    CagedSandboxError,
    CagedTimeoutError,
    CagedValidationError,
    RunResult,
)
from .._constants import LONGEST_TIMEOUT
from .._workspace.command_script import Command
from ._frameworks import missing_framework
from ._programs import program_line

try:
    import yaml  # type: ignore[import-not-found,import-untyped,unused-ignore]
    from inspect_ai.util import (  # type: ignore[import-not-found,unused-ignore]
        ExecResult,
        OutputLimitExceededError,
        SandboxEnvironment,
        SandboxEnvironmentConfigType,
        SandboxEnvironmentLimits,
        SandboxUnavailableError,
        SandboxUserUnsupportedError,
        sandboxenv,
    )
    from pydantic import BaseModel

    from ._create_options import CreateOptions
except ImportError as problem:
    raise missing_framework(__name__, problem) from problem

_WORKSPACE = "/workspace"

# Exit codes of the scripts below, apart from those of the programs in them.
_ERRORS = {101: errno.ENOENT, 102: errno.EISDIR, 103: errno.EACCES, 104: errno.EINVAL, 105: errno.ENOTDIR}
_TOO_LARGE = 106

# Seconds for one file.
_TIMEOUT = 600.0

# $1 the file, $2 the largest size. Nothing but a regular file is opened: a pipe would be waited for.
_READ = f"""\
[ -d "$1" ]&&exit 102
[ -e "$1" ]||exit 101
[ -f "$1" ]||exit 104
[ -r "$1" ]||exit 103
size=$(wc -c <"$1")||exit 1
[ "$size" -le "$2" ]||exit {_TOO_LARGE}
exec cat <"$1"
"""
# $1 the file, $2 its directory; the content is the standard input.
_WRITE = """\
[ -d "$1" ]&&exit 102
[ -p "$1" ]&&exit 104
if [ -e "$1" ];then [ -w "$1" ]||exit 103
elif [ ! -d "$2" ];then
  [ -e "$2" ]&&exit 105
  mkdir -p -- "$2"||exit 103
fi
[ -e "$1" ]||[ -w "$2" ]||exit 103
exec cat >"$1"
"""


class CagedSandboxConfig(CreateOptions, frozen=True):  # type: ignore[misc,call-arg,unused-ignore]
    """Settings of a task's or a sample's sandboxes: the options of ``caged.sandboxes.create``, and one more.

    Attributes:
        user: Name of the user whom commands run as, and who reads and writes files; it has to exist when the sandbox
            is ready. None means the one whom the platform runs commands as.
    """

    user: Optional[str] = None

    def __hash__(self) -> int:
        # Inspect keeps configurations in sets; lists and dicts have no hash.
        return hash(self.model_dump_json())


@sandboxenv(name="caged")  # type: ignore[misc,untyped-decorator,unused-ignore]
class CagedSandboxEnvironment(SandboxEnvironment):  # type: ignore[misc,unused-ignore]
    """A sandbox for each sample, destroyed when the sample ends. Relative paths begin at ``/workspace``.

    Args:
        box: Its client stays open as long as the environment is used.
        user: See `CagedSandboxConfig`.
        resources: Closed with the environment. None leaves the sandbox and its client to the caller.
    """

    def __init__(
        self, box: AsyncBoundSandbox, user: Optional[str] = None, resources: Optional[AsyncExitStack] = None
    ) -> None:
        super().__init__()
        self.box = box
        self._user = user
        self._resources = resources or AsyncExitStack()

    @classmethod
    async def sample_init(
        cls, task_name: str, config: Optional[SandboxEnvironmentConfigType], metadata: dict[str, str]
    ) -> dict[str, SandboxEnvironment]:
        """Create the sandbox of a sample.

        Raises:
            TypeError: `config` is neither the path of a file nor a `CagedSandboxConfig`.
            pydantic.ValidationError: The file has an unknown setting, or a value of the wrong type.
            CagedError: The sandbox cannot be created.
        """
        settings = _settings(config)
        async with AsyncExitStack() as resources:
            client = await resources.enter_async_context(AsyncCaged())
            opening = client.sandboxes.open(**settings.create_arguments())
            box = await resources.enter_async_context(opening)
            return {"default": cls(box, settings.user, resources.pop_all())}

    @classmethod
    async def sample_cleanup(
        cls,
        task_name: str,
        config: Optional[SandboxEnvironmentConfigType],
        environments: dict[str, SandboxEnvironment],
        interrupted: bool,
    ) -> None:
        """Destroy the sandbox of a sample."""
        for environment in environments.values():
            await environment.as_type(cls).aclose()

    @classmethod
    async def cli_cleanup(cls, id: Optional[str]) -> None:
        """Destroy a sandbox that an evaluation with ``--no-sandbox-cleanup`` has left."""
        if id is None:
            raise SystemExit(
                "Cleanup of all sandboxes is not supported, because others may use the account; pass the id of one:"
                " inspect sandbox cleanup caged ID"
            )
        async with AsyncCaged() as client:
            await client.sandboxes.destroy(id)

    @classmethod
    def config_deserialize(cls, config: dict[str, Any]) -> BaseModel:
        """Read a configuration from a log."""
        return CagedSandboxConfig(**config)

    async def aclose(self) -> None:
        """Destroy the sandbox and close the client, unless they are the caller's."""
        await self._resources.aclose()

    async def exec(
        self,
        cmd: list[str],
        input: Optional[Union[str, bytes]] = None,
        cwd: Optional[str] = None,
        env: Optional[dict[str, str]] = None,
        user: Optional[str] = None,
        timeout: Optional[int] = None,
        timeout_retry: bool = True,
        concurrency: bool = True,
    ) -> ExecResult[str]:
        """Run a program; see `SandboxEnvironment.exec`. A command that took too long is not tried again."""
        options: dict[str, Any] = {"cwd": cwd, "env": env, "user": user}
        result = await self._run(program_line(cmd), input, timeout, **options)
        if result.exit_code == 126 and not await self._executable(cmd[0], **options):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), cmd[0])
        limit = SandboxEnvironmentLimits.MAX_EXEC_OUTPUT_SIZE
        for stream in (result.stdout_bytes, result.stderr_bytes):
            if len(stream) > limit:
                raise OutputLimitExceededError(
                    SandboxEnvironmentLimits.MAX_EXEC_OUTPUT_SIZE_STR, stream[:limit].decode("utf-8", "replace")
                )
        return ExecResult(result.ok, result.exit_code, result.stdout, result.stderr)

    async def write_file(self, file: str, contents: Union[str, bytes]) -> None:
        """Write a file and make its directory; see `SandboxEnvironment.write_file`."""
        path = posixpath.join(_WORKSPACE, file)
        await self._run_script(_WRITE, file, path, posixpath.dirname(path), stdin=contents)

    @overload
    async def read_file(self, file: str, text: Literal[True] = True) -> str: ...

    @overload
    async def read_file(self, file: str, text: Literal[False]) -> bytes: ...

    async def read_file(self, file: str, text: bool = True) -> Union[str, bytes]:
        """Read a file; see `SandboxEnvironment.read_file`."""
        limit = SandboxEnvironmentLimits.MAX_READ_FILE_SIZE
        result = await self._run_script(_READ, file, posixpath.join(_WORKSPACE, file), str(limit))
        return result.stdout_bytes.decode("utf-8") if text else result.stdout_bytes

    async def _run_script(
        self, script: str, file: str, *arguments: str, stdin: Optional[Union[str, bytes]] = None
    ) -> RunResult:
        """Run one of the scripts above, and raise what its exit code means for `file`."""
        result = await self._run(["/bin/sh", "-c", script, "sh", *arguments], stdin, _TIMEOUT)
        if result.exit_code == _TOO_LARGE:
            raise OutputLimitExceededError(SandboxEnvironmentLimits.MAX_READ_FILE_SIZE_STR, None)
        if result.exit_code in _ERRORS:
            code = _ERRORS[result.exit_code]
            raise OSError(code, os.strerror(code), file)
        if not result.ok:
            raise OSError(errno.EIO, result.stderr.strip() or os.strerror(errno.EIO), file)
        return result

    async def _executable(self, program: str, **options: Any) -> bool:
        """Whether a program may be executed. Exit code 126 alone can be that of a program which it has started."""
        script = 'p=$(command -v -- "$1")&&[ -x "$p" ]&&[ ! -d "$p" ]'
        return (await self._run(["/bin/sh", "-c", script, "sh", program], None, None, **options)).ok

    async def _run(
        self,
        command: Command,
        stdin: Optional[Union[str, bytes]],
        timeout: Optional[float],
        cwd: Optional[str] = None,
        env: Optional[dict[str, str]] = None,
        user: Optional[str] = None,
    ) -> RunResult:
        """Run a command, and raise Inspect's errors for those of the SDK."""
        if any("\0" in word for word in command):
            raise ValueError("embedded null byte")  # in these words it becomes an error of the tool call
        directory = posixpath.join(_WORKSPACE, cwd or "")
        user = user or self._user
        limit = timeout or LONGEST_TIMEOUT
        try:
            return await self.box.run(command, cwd=directory, env=env, stdin=stdin, user=user, timeout=limit)
        except CagedCommandTimeoutError as error:
            timed_out: Any = TimeoutError(str(error))
            timed_out.truncated_output = error.stdout + error.stderr  # Inspect shows it to the model
            raise timed_out from error
        except CagedTimeoutError as error:
            raise TimeoutError(str(error)) from error
        except (CagedAuthError, CagedPlanLimitError, CagedValidationError):
            raise  # the settings of the evaluation are wrong; no model can help it
        except (CagedAPIError, CagedConnectionError) as error:
            raise SandboxUnavailableError(str(error)) from error
        except CagedError as error:
            raise await self._explained(error, directory, user) from error

    async def _explained(self, error: CagedError, directory: str, user: Optional[str]) -> Exception:
        """The error for a command that was not run: what of the sandbox, the user and the directory is missing."""
        try:
            await self.box.run(["true"])
        except CagedError as problem:
            return SandboxUnavailableError(str(problem))  # type: ignore[no-any-return,unused-ignore]
        try:
            is_directory = (await self.box.run(["test", "-d", directory], user=user)).ok
        except CagedError as problem:
            return SandboxUserUnsupportedError(str(problem))  # type: ignore[no-any-return,unused-ignore]
        if not is_directory:
            return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), directory)
        if isinstance(error, CagedSandboxError):  # it could not be reached, and now it can
            return SandboxUnavailableError(str(error))  # type: ignore[no-any-return,unused-ignore]
        return error


def _settings(config: Optional[SandboxEnvironmentConfigType]) -> CagedSandboxConfig:
    """The settings of a sandbox, of what a task or the command line gives."""
    if config is None:
        return CagedSandboxConfig()
    if isinstance(config, CagedSandboxConfig):
        return config
    if isinstance(config, str):
        with open(config, encoding="utf-8") as file:
            return CagedSandboxConfig.model_validate(yaml.safe_load(file) or {})
    raise TypeError(f"a sandbox of Caged takes a CagedSandboxConfig or the path of a file with one, not {config!r}")
