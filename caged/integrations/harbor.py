"""A sandbox as an environment of Harbor: ``harbor run --env caged.integrations.harbor:CagedEnvironment``.

The key and the address of the API come from ``CAGED_API_KEY`` and ``CAGED_BASE_URL``.
"""

from __future__ import annotations

import os
import posixpath
import shlex
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Optional, Union

from .. import AsyncBoundSandbox, AsyncCaged, CagedCommandTimeoutError
from .._constants import LONGEST_TIMEOUT
from ._frameworks import missing_framework

try:
    from dockerfile_parse import DockerfileParser  # type: ignore[import-not-found,import-untyped,unused-ignore]
    from harbor.environments.base import (  # type: ignore[import-not-found,import-untyped,unused-ignore]
        BaseEnvironment,
        ExecResult,
        SandboxBuildFailedError,
    )
    from harbor.environments.capabilities import (  # type: ignore[import-not-found,import-untyped,unused-ignore]
        EnvironmentCapabilities,
        EnvironmentResourceCapabilities,
    )
    from harbor.environments.definition import (  # type: ignore[import-not-found,import-untyped,unused-ignore]
        DOCKERFILE_NAME,
        require_agent_environment_definition,
    )
    from harbor.environments.options import EnvironmentOptions  # type: ignore[import-not-found,import-untyped,unused-ignore]

    from ._create_options import CreateOptions
except ImportError as problem:
    raise missing_framework(__name__, problem) from problem

#: Instructions that concern how an image is started, which a sandbox is not.
_WITHOUT_EFFECT = ("FROM", "CMD", "ENTRYPOINT", "EXPOSE", "LABEL", "MAINTAINER", "COMMENT")
_UNDERSTOOD = ("RUN", "COPY", "WORKDIR", "ENV")


class CagedEnvironmentOptions(EnvironmentOptions, CreateOptions):  # type: ignore[misc,unused-ignore]
    """The options of ``caged.sandboxes.create``, as ``--ek NAME=VALUE``.

    What a task says of processors, memory, disk and network comes before `cpus`, `memory_mb`, `disk_gb`,
    `network_mode` and `allowlist`.
    """


class CagedEnvironment(BaseEnvironment):  # type: ignore[misc,unused-ignore]
    """A task's environment in a sandbox.

    The platform has templates in place of images. So a Dockerfile is not built: ``RUN``, ``COPY``, ``WORKDIR`` and
    ``ENV`` are carried out in a new sandbox of the template that the option `template` names, whatever its ``FROM``
    names. A Dockerfile with several stages, or with other instructions that matter, is refused.
    """

    options_model = CagedEnvironmentOptions

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._resources = AsyncExitStack()
        self._sandbox: Optional[AsyncBoundSandbox] = None
        self._steps: list[tuple[str, str]] = []
        self._workdir: Optional[str] = None
        self._image_env: dict[str, str] = {}
        super().__init__(*args, **kwargs)

    @staticmethod
    def type() -> str:
        """The name in results."""
        return "caged"

    @property
    def capabilities(self) -> EnvironmentCapabilities:
        """What the platform can do."""
        return EnvironmentCapabilities(disable_internet=True, network_allowlist=True, network_allowlist_hostnames=True)

    @classmethod
    def resource_capabilities(cls) -> EnvironmentResourceCapabilities:
        """Processors and memory are limits."""
        return EnvironmentResourceCapabilities(cpu_limit=True, memory_limit=True)

    @classmethod
    def preflight(cls, kwargs: Optional[dict[str, Any]] = None) -> None:
        """Check the options, and that there is a key."""
        super().preflight(kwargs)
        if not os.environ.get("CAGED_API_KEY"):
            raise SystemExit("CAGED_API_KEY is not set: environments of Caged need the key of an account")

    def _validate_definition(self) -> None:
        require_agent_environment_definition(self.environment_dir, docker_image=self.task_env_config.docker_image)
        path = self.environment_dir / DOCKERFILE_NAME
        if not path.exists():
            if self.task_env_config.docker_image is None:
                raise ValueError(
                    f"{self.environment_dir} has no {DOCKERFILE_NAME}, and Caged does not run Docker Compose; add a"
                    f" {DOCKERFILE_NAME}, or set docker_image in task.toml"
                )
            return
        self._steps = _steps(path)

    @property
    def box(self) -> AsyncBoundSandbox:
        """The sandbox.

        Raises:
            RuntimeError: The environment is not started.
        """
        if self._sandbox is None:
            raise RuntimeError("the environment has no sandbox: call start() first")
        return self._sandbox

    async def start(self, force_build: bool) -> None:
        """Create the sandbox and carry out the Dockerfile; `force_build` changes nothing, as no image is kept.

        Raises:
            SandboxBuildFailedError: An instruction of the Dockerfile failed.
            CagedError: The sandbox cannot be created.
        """
        async with AsyncExitStack() as resources:
            client = await resources.enter_async_context(AsyncCaged())
            opening = client.sandboxes.open(**self._create_arguments())
            self._sandbox = await resources.enter_async_context(opening)
            resources.callback(self._forget)
            for instruction, value in self._steps:
                await self._carry_out(instruction, value)
            await self.ensure_dirs(self._mount_targets(writable_only=True))
            await self._upload_environment_dir_after_start()
            self._resources = resources.pop_all()

    def _forget(self) -> None:
        self._sandbox = None

    def _create_arguments(self) -> dict[str, Any]:
        arguments: dict[str, Any] = self.options.create_arguments()
        if self._effective_cpus is not None:
            arguments["cpus"] = int(self._effective_cpus)  # Harbor refuses parts of one
        if self._effective_memory_mb is not None:
            arguments["memory_mb"] = self._effective_memory_mb
        if self._effective_storage_mb is not None:
            arguments["disk_gb"] = -(-self._effective_storage_mb // 1024)
        if self._network_disabled:
            arguments["network_mode"] = "none"
        elif self._network_is_allowlist:
            arguments.update(network_mode="allowlist", allowlist=list(self.network_policy.allowed_hosts))
        return arguments

    async def _carry_out(self, instruction: str, value: str) -> None:
        """Carry out one instruction of the Dockerfile.

        Raises:
            SandboxBuildFailedError: It failed.
        """
        here = self._workdir or "/"
        if instruction == "WORKDIR":
            self._workdir = posixpath.normpath(posixpath.join(here, value))
            await self.box.mkdir(self._workdir, parents=True, exist_ok=True)
        elif instruction == "ENV":
            self._image_env.update(_variables(value))
        elif instruction == "COPY":
            *sources, target = shlex.split(value)
            for source in sources:
                await self._copy(source, posixpath.join(here, target), len(sources) > 1)
        else:
            limit = self.task_env_config.build_timeout_sec
            result = await self.box.run(value, cwd=here, env=self._image_env, timeout=limit)
            if not result.ok:
                said = (result.stderr or result.stdout).strip()[-2000:]
                raise SandboxBuildFailedError(f"RUN {value} exited with {result.exit_code}: {said}")

    async def _copy(self, source: str, target: str, into_directory: bool) -> None:
        local = (self.environment_dir / source.lstrip("/")).resolve()
        if not local.exists() or not local.is_relative_to(self.environment_dir.resolve()):
            raise SandboxBuildFailedError(f"COPY {source}: there is no such file in {self.environment_dir}")
        path = posixpath.normpath(target)
        if local.is_file():
            is_directory = target.endswith("/") or (await self.box.run(["test", "-d", path])).ok
            if is_directory or into_directory:
                path = posixpath.join(path, local.name)
        await self.box.upload(local, path)

    async def stop(self, delete: bool) -> None:
        """Destroy the sandbox, or leave it to the account if `delete` is False."""
        if self._sandbox is None:
            return
        if not delete:
            self._sandbox.keep = True
            self.logger.info(f"sandbox {self._sandbox.id} is kept")
        await self._resources.aclose()

    async def exec(
        self,
        command: str,
        cwd: Optional[str] = None,
        env: Optional[dict[str, str]] = None,
        timeout_sec: Optional[int] = None,
        user: Optional[Union[str, int]] = None,
    ) -> ExecResult:
        """Run a command; see `BaseEnvironment.exec`.

        Raises:
            RuntimeError: It took too long, and was ended with all its processes.
            CagedError: The platform did not run it.
        """
        directory = cwd or self.task_env_config.workdir or self._workdir
        variables = {**self._image_env, **(self._merge_env(env) or {})}
        name = await self._user_name(self._resolve_user(user))
        limit = timeout_sec or LONGEST_TIMEOUT
        try:
            result = await self.box.run(command, cwd=directory, env=variables, user=name, timeout=limit)
        except CagedCommandTimeoutError as error:
            raise RuntimeError(f"Command timed out after {limit} seconds: {error}") from error
        return ExecResult(stdout=result.stdout, stderr=result.stderr, return_code=result.exit_code)

    async def _user_name(self, user: Optional[Union[str, int]]) -> Optional[str]:
        """The name of a user, who may be given by number."""
        if user is None or not str(user).isdecimal():
            return None if user is None else str(user)
        return (await self.box.run(["id", "-un", "--", str(user)], check=True)).stdout.strip()

    async def upload_file(self, source_path: Union[Path, str], target_path: str) -> None:
        """Copy a file into the sandbox."""
        await self.box.upload(source_path, target_path)

    async def upload_dir(self, source_dir: Union[Path, str], target_dir: str) -> None:
        """Copy what is in a directory into one of the sandbox."""
        await self.box.upload(source_dir, target_dir)

    async def download_file(self, source_path: str, target_path: Union[Path, str]) -> None:
        """Copy a file of the sandbox."""
        await self.box.download(source_path, target_path)

    async def download_dir(self, source_dir: str, target_dir: Union[Path, str]) -> None:
        """Copy what is in a directory of the sandbox into one of this machine."""
        await self.box.download(source_dir, target_dir)


def _steps(path: Path) -> list[tuple[str, str]]:
    """The instructions of a Dockerfile that have an effect.

    Raises:
        ValueError: It has others than those that `CagedEnvironment` can carry out.
    """
    found = [(str(line["instruction"]), str(line["value"])) for line in DockerfileParser(str(path)).structure]
    names = [name for name, _ in found]
    problems = [f"{name} {value}" for name, value in found if name not in _WITHOUT_EFFECT + _UNDERSTOOD]
    problems += [f"{name} {value}" for name, value in found if _is_special(name, value)]
    if names.count("FROM") > 1:
        problems.append("more than one FROM")
    if problems:
        raise ValueError(
            f"{path} cannot be carried out in a sandbox of Caged: {'; '.join(problems)}. It can have one FROM, whose "
            "image is not used, RUN, COPY without options, WORKDIR and ENV, the latter three without variables"
        )
    return [(name, value) for name, value in found if name in _UNDERSTOOD]


def _is_special(name: str, value: str) -> bool:
    """Whether an instruction has a form that is not carried out."""
    if name == "RUN":
        return value.startswith(("[", "--")) or "<<" in value
    return name in _UNDERSTOOD and ("$" in value or value.startswith(("[", "--")) or "*" in value)


def _variables(value: str) -> dict[str, str]:
    """What an ENV instruction sets: ``NAME=value ...``, or ``NAME value``."""
    words = shlex.split(value)
    if "=" not in words[0]:
        name, _, rest = value.partition(" ")
        return {name: rest.strip()}
    return {name: text for name, _, text in (word.partition("=") for word in words)}
