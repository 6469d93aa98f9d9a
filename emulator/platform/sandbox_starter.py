"""The processes of a sandbox: started behind its isolation, with its template's programs; and their loss."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

from ..cage.cage import Cage
from ..cage.cgroups import MemoryGroup, MemoryGroups
from ..cage.chosen_isolation import ChosenIsolation
from ..cage.init_client import SandboxGone
from ..cage.probe import describe
from ..cage.provisioning import Limits, Provisioner, SandboxSpec
from ..cage.proxy import Proxy
from ..cage.toolchains import Toolchain, Toolchains
from ..cage.zygote import ZygoteError
from ..config import EmulatorConfig
from ..control.clock import Clock
from ..store import Sandbox
from . import cost, limits, sandbox_states
from .agent_sessions import AgentSessions
from .background import BackgroundTasks
from .command_stubs import CommandStubs
from .fake_repositories import FakeRepositories
from .live_sandboxes import LiveSandboxes
from .recorder import SandboxRecorder
from .shim_requests import ShimRequests
from .signals import Signals


class SetupError(Exception):
    """A step of the create failed; the text goes to the sandbox's log."""


class ProcessLossHandler:
    """What follows when the processes of a sandbox end that was neither stopped nor destroyed."""

    def __init__(
        self, clock: Clock, live: LiveSandboxes, recorder: SandboxRecorder, sessions: AgentSessions, signals: Signals
    ) -> None:
        self._clock = clock
        self._live = live
        self._recorder = recorder
        self._sessions = sessions
        self._signals = signals

    def handle_loss(self, sandbox: Sandbox) -> None:
        """Its init has died: the sandbox is in error for good, unless it was being stopped or destroyed."""
        if not sandbox_states.can(sandbox, "lose"):
            return
        cost.stop(sandbox, self._clock.time())
        sandbox_states.apply(sandbox, "lose")
        self._live.of(sandbox).gone.set()
        sandbox.stopped_at = self._clock.timestamp()
        reason = "the sandbox's processes were killed from outside; destroy it and create a new one"
        self._recorder.record_error(sandbox, reason)
        self._sessions.fail_active(sandbox)
        self._signals.send("sandbox_error", sandbox=sandbox, reason=reason)

    def handle_overrun(self, sandbox: Sandbox, count: int) -> None:
        """All commands were killed, because there were `count` processes."""
        self._recorder.record_error(
            sandbox,
            f"ended all processes: there were {count}, and {limits.PROCESSES} are allowed at a time; start fewer,"
            " or serve with --no-limits",
        )


class SandboxStarter:
    def __init__(
        self,
        config: EmulatorConfig,
        live: LiveSandboxes,
        isolation: ChosenIsolation,
        provisioner: Provisioner,
        toolchains: Toolchains,
        memory_groups: Optional[MemoryGroups],
        files_dir: Path,
        relayed: set[tuple[str, int]],
        command_stubs: CommandStubs,
        shim_requests: ShimRequests,
        loss: ProcessLossHandler,
        recorder: SandboxRecorder,
        background: BackgroundTasks,
        fake_repositories: FakeRepositories,
    ) -> None:
        """
        Args:
            memory_groups: Where control groups can be made for sandboxes; None: not here, or limits are off.
            files_dir: The directory that holds the sandboxes' directories.
            relayed: Receives the local addresses of connections that are made on behalf of sandboxes.
        """
        self._config = config
        self._live = live
        self._isolation = isolation
        self._provisioner = provisioner
        self._toolchains = toolchains
        self._memory_groups = memory_groups
        self._files_dir = files_dir
        self._relayed = relayed
        self._command_stubs = command_stubs
        self._shim_requests = shim_requests
        self._loss = loss
        self._recorder = recorder
        self._background = background
        self._fake_repositories = fake_repositories
        self._has_started_one = False

    async def start(
        self,
        sandbox: Sandbox,
        has_directory: bool = False,
        layers: Sequence[Path] = (),
        owns_layers: bool = False,
        directory: Optional[Path] = None,
    ) -> Cage:
        """Start the sandbox's processes and install its template's programs.

        Args:
            has_directory: Whether it has a directory already, which then stays whatever happens.
            layers: Directories of layers that it sees below what it changes itself, topmost first.
            owns_layers: Whether they are copied, since the sandbox has to outlive them.
            directory: Its directory; by default one of those in which sandboxes are kept.

        Raises:
            SetupError: The processes cannot be started.
            SandboxGone: The sandbox was destroyed meanwhile.
        """
        chain = await self._toolchains.find_soon(sandbox.template)
        cage = await self._open(sandbox, chain, has_directory, layers, owns_layers, directory)
        self._log_isolation(sandbox)
        cage.programs.install_toolchain(chain)
        await self._command_stubs.install_shims(sandbox)
        try:
            await self._fake_repositories.connect(sandbox, cage)
        except OSError as error:
            raise SetupError(f"git cannot reach the account's fake repositories: {error}") from error
        if not chain.exact or chain.links:
            self._recorder.log(sandbox, f"template {sandbox.template}: {chain.summary}")
        return cage

    def _log_isolation(self, sandbox: Sandbox) -> None:
        isolation = self._isolation.current
        self._recorder.log(sandbox, f"sandbox started (isolation: {isolation.describe()})")
        refused = [describe(result) for result in self._isolation.probe_results if not result.works]
        if refused and isolation.level == "process":
            self._recorder.log(sandbox, f"stronger isolation does not work here. {'; '.join(refused)}")
        if sandbox.network_mode != "full" and not isolation.own_network:
            mode = sandbox.network_mode
            self._recorder.log(
                sandbox, f"network_mode {mode} is not enforced by {isolation.level} isolation: the network is open"
            )

    async def _open(
        self,
        sandbox: Sandbox,
        chain: Toolchain,
        has_directory: bool,
        layers: Sequence[Path],
        owns_layers: bool,
        directory: Optional[Path],
    ) -> Cage:
        own_network = self._isolation.current.own_network
        spec = SandboxSpec(
            sandbox.id,
            network=sandbox.network_mode if own_network else "full",
            show=chain.needs,
            proxy=self._proxy(sandbox) if sandbox.network_mode == "allowlist" and own_network else None,
            limits=self._limits(sandbox),
            layers=layers,
            owns_layers=owns_layers,
            has_directory=has_directory,
            memory=self._memory(sandbox),
            on_lost=functools.partial(self._loss.handle_loss, sandbox),
            on_shim_request=functools.partial(self._shim_requests.answer, sandbox),
            on_overrun=functools.partial(self._loss.handle_overrun, sandbox),
            on_missing=functools.partial(self._log_missing, sandbox),
        )
        live = self._live.of(sandbox)
        try:
            live.cage = await self._provisioner.open(directory or self._files_dir / "sandboxes" / sandbox.id, spec)
        except (OSError, SandboxGone, ZygoteError) as error:
            raise SetupError(f"the sandbox's processes could not be started: {error}") from error
        if sandbox.status == "destroyed":
            raise SandboxGone("the sandbox was destroyed while it was started")
        if self._has_started_one:  # else it may be the only one, as in most tests, and a directory be made for nothing
            self._background.start(self._provisioner.prepare())
        self._has_started_one = True
        return live.cage

    def _log_missing(self, sandbox: Sandbox, name: str) -> None:
        self._recorder.log(sandbox, f"/{name} was missing; it is there again, and empty", "error")

    def _limits(self, sandbox: Sandbox) -> Optional[Limits]:
        if not self._config.limits:
            return None
        per_process = 0 if self._memory_groups else sandbox.memory_mb
        return Limits(per_process, sandbox.cpus, sandbox.disk_gb, limits.PROCESSES)

    def _memory(self, sandbox: Sandbox) -> Optional[MemoryGroup]:
        groups = self._memory_groups
        return groups.create(sandbox.id, sandbox.memory_mb) if groups else None

    def _proxy(self, sandbox: Sandbox) -> Proxy:
        on_refused = functools.partial(self._recorder.record_refused_connection, sandbox)
        return Proxy(sandbox.allowlist, on_refused, sandbox.id, self._relayed)
