"""The steps between a create request and a running sandbox: start, clone, packages, agents, init script."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional, TypeVar

from ..cage import git
from ..cage.cage import Cage
from ..cage.command_result import CommandResult
from ..cage.file_tree import OutsideOfSandbox
from ..cage.init_client import SandboxGone
from ..cage.zygote import ZygoteError
from ..control.clock import Clock
from ..control.prepared import PreparedSandbox
from ..control.step import within
from ..store import Sandbox
from . import limits
from .command_stubs import CommandStubs
from .fake_repositories import FakeRepositories
from .live_sandboxes import LiveSandboxes
from .package_layers import Installed, PackageLayers, install_command
from .recorder import RunningCommand, SandboxRecorder
from .redaction import redact_secrets
from .sandbox_starter import SandboxStarter, SetupError

T = TypeVar("T")
#: Where a repository may keep settings, and the most of them that a sandbox shows.
CONFIG_FILE, CONFIG_BYTES = "/workspace/.caged.yaml", 64 * 1024


@dataclass(frozen=True)
class Started:
    """A sandbox whose processes run.

    Attributes:
        cage: The processes.
        installed: Its packages, where they were installed outside of it.
    """

    cage: Cage
    installed: Optional[Installed]


class SandboxSetup:
    def __init__(
        self,
        clock: Clock,
        live: LiveSandboxes,
        starter: SandboxStarter,
        command_stubs: CommandStubs,
        recorder: SandboxRecorder,
        fake_repositories: FakeRepositories,
        package_layers: PackageLayers,
    ) -> None:
        self._package_layers = package_layers
        self._clock = clock
        self._live = live
        self._starter = starter
        self._command_stubs = command_stubs
        self._recorder = recorder
        self._fake_repositories = fake_repositories

    async def build(self, sandbox: Sandbox, prepared: Optional[PreparedSandbox] = None) -> None:
        """Take all steps, in the platform's order.

        Args:
            prepared: What it begins with.

        Raises:
            SetupError: A step failed.
            SandboxGone: The sandbox was destroyed meanwhile.
        """
        if prepared is None:
            installed = await self._install_into_layer(sandbox) if sandbox.packages else None
            started = await self._start(sandbox, installed, owns_layers=self._owns(installed))
        else:
            is_persistent = self._package_layers.is_persistent
            started = await self._start(sandbox, None, layers=prepared.layers, owns_layers=is_persistent)
            self._recorder.log(sandbox, f"created from prepared sandbox {prepared.name!r}")
        if sandbox.repo is not None:
            await self._clone(sandbox, started.cage)
        await self.run_steps(sandbox, started)

    async def start_builder(self, sandbox: Sandbox, directory: Path, has_directory: bool, is_filled: bool) -> Started:
        """Start a sandbox of the emulator's own, in which a prepared sandbox is built.

        Args:
            directory: Its directory.
            has_directory: Whether it is there already.
            is_filled: Whether it gets files before its packages, which therefore cannot be in a layer below them.

        Raises:
            SetupError, SandboxGone: It cannot be started.
        """
        installed = None
        if sandbox.packages and not has_directory and not is_filled:
            installed = await self._install_into_layer(sandbox)
        owns_layers = installed is not None and installed.entry is not None
        return await self._start(
            sandbox, installed, owns_layers=owns_layers, has_directory=has_directory, directory=directory
        )

    async def run_steps(self, sandbox: Sandbox, started: Started) -> None:
        """Install packages and agents, and run the init script. Raises as `build`."""
        cage = started.cage
        if sandbox.packages:
            await self._install_packages(sandbox, cage, started.installed)
        await self._install_agents(sandbox, cage)
        if sandbox.init_script:
            await self._run_step(sandbox, cage, sandbox.init_script, "init_script")

    async def _start(
        self,
        sandbox: Sandbox,
        installed: Optional[Installed],
        *,
        layers: Sequence[Path] = (),
        owns_layers: bool,
        has_directory: bool = False,
        directory: Optional[Path] = None,
    ) -> Started:
        if installed is not None and installed.layer is not None:
            layers = (installed.layer, *layers)
        try:
            async with self._live.of(sandbox).workspace_lock:  # destroy waits for it, and then finds what was started
                return Started(
                    await self._starter.start(sandbox, has_directory, layers, owns_layers, directory), installed
                )
        finally:
            if installed is not None and installed.entry is not None:
                installed.entry.release()

    async def reopen(self, sandbox: Sandbox) -> None:
        """Start new processes over the directory of a stopped sandbox, with the programs that it was made with. Raises
        as `build`; the directory stays as it is then."""
        cage = await self._starter.start(sandbox, has_directory=True)
        await self._install_agents(sandbox, cage)

    async def _install_agents(self, sandbox: Sandbox, cage: Cage) -> None:
        if sandbox.agents:
            await cage.listen()
        for agent in sandbox.agents:
            cage.programs.install_agent(limits.AGENTS[agent])
            self._recorder.log(sandbox, f"agent {agent} installed (emulated: command `{limits.AGENTS[agent]}`)")

    async def _clone(self, sandbox: Sandbox, cage: Cage) -> None:
        assert sandbox.repo is not None
        url = sandbox.repo.split_credentials()[0]
        try:
            async with self._live.of(
                sandbox
            ).workspace_lock:  # destroy removes no directory that a clone, which ends at once, still writes to
                async with cage.outside() as outside, self._fake_repositories.reached_outside(sandbox, outside):
                    clone = _bounded("git clone", git.clone(outside, sandbox.repo))
                    await _unless_gone(self._live.of(sandbox).gone, clone)
        except (git.CloneError, SandboxGone, ZygoteError) as error:
            raise SetupError(f"cloning {url} failed: {error}") from error
        self._recorder.record_lifecycle(sandbox, "clone", f"cloned {url} into /workspace", repo=url)
        await self._read_config(sandbox, cage)

    async def _read_config(self, sandbox: Sandbox, cage: Cage) -> None:
        """Keep the repository's `.caged.yaml` as the sandbox's `config`. Its settings are not applied: the platform's
        command line reads the file and sends them with the create (docs/contract/wire-other-clients.md 8.1)."""
        try:
            content = await cage.read(CONFIG_FILE, CONFIG_BYTES)
        except (OSError, OutsideOfSandbox):
            return  # there is none, or it is not a file of the sandbox
        sandbox.config = {"source": "yaml"}
        if len(content) <= CONFIG_BYTES:
            sandbox.config["raw"] = redact_secrets(sandbox, content.decode("utf-8", "replace"))
        self._recorder.log(
            sandbox, ".caged.yaml is in the repository; its settings are not applied, only those of the create are"
        )

    async def _install_into_layer(self, sandbox: Sandbox) -> Optional[Installed]:
        """Install the packages outside of the sandbox, before it has files, environment or a repository. None: they
        have to be installed in it. Raises SandboxGone."""
        return await _unless_gone(self._live.of(sandbox).gone, self._package_layers.obtain(sandbox))

    def _owns(self, installed: Optional[Installed]) -> bool:
        """Whether the sandbox has to have a copy of its layer."""
        return installed is not None and (installed.entry is not None or self._package_layers.is_persistent)

    async def _install_packages(self, sandbox: Sandbox, cage: Cage, installed: Optional[Installed]) -> None:
        name = f"packages {', '.join(sandbox.packages)}"
        command = install_command(sandbox)
        if installed is None:
            await self._run_step(sandbox, cage, command, name)
            return
        run = self._recorder.begin_command(sandbox, command, "build")
        with within(run.step):
            for host, port in installed.refused:
                self._recorder.record_refused_connection(sandbox, host, port)
        self._end_step(run, name, installed.result, "from the cache" if installed.from_cache else "done")

    async def _run_step(self, sandbox: Sandbox, cage: Cage, command: str, name: str) -> None:
        run = self._recorder.begin_command(sandbox, command, "build")
        with within(run.step), run.abandoned_on_error():
            choice = await self._command_stubs.choose(sandbox, command)
            run.near_misses = choice.near_misses
            async with self._recorder.file_changes.noting(sandbox, run.step):
                result = await _bounded(name, choice.run(sandbox, cage, command))
        self._end_step(run, name, result, "done", choice.stub)

    def _end_step(self, run: RunningCommand, name: str, result: CommandResult, outcome: str, stub: str = "") -> None:
        """Record the end of a step. `outcome`: what the log says of a success. Raises SetupError."""
        sandbox = run.sandbox
        text = result.output.decode("utf-8", "replace")
        run.end(result.code, printed=text, times=result.times, stub=stub)
        output = redact_secrets(sandbox, text.strip())  # before any cut
        if result.code != 0:
            tail = "\n".join(output.splitlines()[-20:])
            raise SetupError(f"{name} failed with exit code {result.code}: {result.error or tail}")
        self._recorder.log(sandbox, f"{name}: {outcome}")
        if output:
            self._recorder.log(sandbox, output[-4000:], "output")


async def _bounded(step: str, work: Awaitable[T]) -> T:
    try:
        return await asyncio.wait_for(work, limits.BUILD_SECONDS)
    except asyncio.TimeoutError:
        raise SetupError(f"{step} took longer than {limits.BUILD_SECONDS:g} s") from None


async def _unless_gone(sandbox_gone: asyncio.Event, work: Coroutine[Any, Any, T]) -> T:
    """Return the result of `work`. When the sandbox is destroyed before, cancel it and raise SandboxGone."""
    working, gone = asyncio.ensure_future(work), asyncio.ensure_future(sandbox_gone.wait())
    try:
        either: set[asyncio.Future[Any]] = {working, gone}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise SandboxGone("the sandbox was destroyed")
    finally:
        for task in (working, gone):
            task.cancel()
        await asyncio.gather(working, gone, return_exceptions=True)
