"""What happens between a create request and a running sandbox: clone, packages, agents, init script."""

from __future__ import annotations

import asyncio
import logging
import shlex
from collections.abc import Awaitable, Coroutine
from typing import Any, Optional, TypeVar

from ..cage import git
from ..cage.cage import Cage
from ..cage.cgroups import MemoryGroup
from ..cage.init_client import SandboxGone
from ..cage.probe import describe
from ..cage.provisioning import Limits, SandboxSpec
from ..cage.proxy import Proxy
from ..cage.safe_files import OutsideOfSandbox
from ..cage.shim_rpc import ShimReply
from ..cage.toolchains import Toolchain
from ..cage.zygote import ZygoteError
from ..control.current_account import acting_for
from ..store import Sandbox
from . import cost, limits
from .agent_runs import AgentRuns
from .command_stubs import CommandStubs, choose, install_shims
from .services import Services, mask
from .sessions import Sessions

logger = logging.getLogger(__name__)

T = TypeVar("T")
#: Where a repository may keep settings, and the most of them that a sandbox shows.
CONFIG_FILE, CONFIG_BYTES = "/workspace/.caged.yaml", 64 * 1024


class SetupFailed(Exception):
    """A step of the create failed; the text goes to the sandbox's log."""


class SandboxSetup:
    def __init__(self, services: Services, sessions: Sessions) -> None:
        self._services = services
        self._sessions = sessions
        self._agent_runs = AgentRuns(services, sessions)
        self._command_stubs = CommandStubs(services)

    async def build(self, sandbox: Sandbox) -> None:
        """All steps, in the platform's order. Raises BuildFailed; Gone when the sandbox was destroyed meanwhile."""
        async with sandbox.disk:  # destroy waits for it, and then finds what was started
            cage = await self._start(sandbox)
        if sandbox.repo is not None:
            await self._clone(sandbox, cage)
        if sandbox.packages:
            await self._install_packages(sandbox, cage)
        await self._install_agents(sandbox, cage)
        if sandbox.init_script:
            await self._init_script(sandbox, cage)

    async def reopen(self, sandbox: Sandbox) -> None:
        """New isolation and processes over the directory of a sandbox that was stopped, with the programs that it was
        made
        with. Raises as `build`; the directory stays as it is then."""
        cage = await self._start(sandbox, again=True)
        await self._install_agents(sandbox, cage)

    async def _start(self, sandbox: Sandbox, again: bool = False) -> Cage:
        """The sandbox's processes and its template's programs. `again`: over the directory that it has."""
        chain = await self._services.toolchains.find_soon(sandbox.template)
        cage = await self._open(sandbox, chain, again)
        isolation = self._services.isolation
        self._services.note(sandbox, f"sandbox started (isolation: {isolation.level})")
        refused = [describe(probe_result) for probe_result in self._services.probe_results if not probe_result.works]
        if refused and isolation.level == "process":
            self._services.note(sandbox, f"stronger isolation does not work here. {'; '.join(refused)}")
        if sandbox.network_mode != "full" and not isolation.own_network:
            mode = sandbox.network_mode
            self._services.note(
                sandbox, f"network_mode {mode} is not enforced by {isolation.level} isolation: the network is open"
            )
        cage.programs.install_toolchain(chain)
        await install_shims(self._services, sandbox)
        if not chain.exact or chain.links:
            self._services.note(sandbox, f"template {sandbox.template}: {chain.summary}")
        return cage

    async def _install_agents(self, sandbox: Sandbox, cage: Cage) -> None:
        if sandbox.agents:
            await cage.listen()
        for agent in sandbox.agents:
            cage.programs.install_agent(limits.AGENTS[agent])
            self._services.note(sandbox, f"agent {agent} installed (emulated: command `{limits.AGENTS[agent]}`)")

    async def _open(self, sandbox: Sandbox, chain: Toolchain, again: bool) -> Cage:
        services = self._services

        def lost() -> None:
            if sandbox.status in ("pending", "running", "paused"):
                self._lost(sandbox)

        def overrun(count: int) -> None:
            services.failed(
                sandbox,
                f"ended all processes: there were {count}, and {limits.PROCESSES} are allowed at a time; start fewer,"
                " or serve with --no-limits",
            )

        async def asked(question: dict[str, Any], answer: ShimReply) -> None:
            answering = self._agent_runs if question.get("kind") == "agent" else self._command_stubs
            with acting_for(sandbox.account_id):
                try:
                    await answering.answer(sandbox, question, answer)
                except Exception as error:  # whoever can connect inside may ask anything
                    logger.error("%s: a request of the shim could not be answered: %r", sandbox.id, error)
                    answer.write("the emulator could not answer; its log says why\n")
                    answer.finish(1)

        own_network = services.isolation.own_network
        plan = SandboxSpec(
            sandbox.id,
            network=sandbox.network_mode if own_network else "full",
            show=chain.needs,
            proxy=self._proxy(sandbox) if sandbox.network_mode == "allowlist" and own_network else None,
            limits=self._limits(sandbox),
            again=again,
            memory=self._memory(sandbox),
            on_lost=lost,
            on_shim_request=asked,
            on_overrun=overrun,
        )
        try:
            sandbox.cage = await services.provisioner.open(services.files_dir / "sandboxes" / sandbox.id, plan)
        except (OSError, SandboxGone, ZygoteError) as error:
            raise SetupFailed(f"the sandbox's processes could not be started: {error}") from error
        if sandbox.status == "destroyed":
            raise SandboxGone("the sandbox was destroyed while it was started")
        services.in_background(services.provisioner.prepare())
        return sandbox.cage

    def _limits(self, sandbox: Sandbox) -> Optional[Limits]:
        if not self._services.config.limits:
            return None
        per_process = 0 if self._services.memory else sandbox.memory_mb
        return Limits(per_process, sandbox.cpus, sandbox.disk_gb, limits.PROCESSES)

    def _memory(self, sandbox: Sandbox) -> Optional[MemoryGroup]:
        groups = self._services.memory
        return groups.create(sandbox.id, sandbox.memory_mb) if groups else None

    def _proxy(self, sandbox: Sandbox) -> Proxy:
        def refused(host: str, port: int) -> None:
            self._services.note(sandbox, f"{host}:{port} was refused: it is not on the allowlist", "network")
            self._services.record(sandbox, "network", {"host": host, "port": port, "allowed": False})

        return Proxy(sandbox.allowlist, refused, sandbox.id, self._services.relayed)

    def _lost(self, sandbox: Sandbox) -> None:
        """The sandbox's init died without having been asked to."""
        cost.stop(sandbox, self._services.clock.time())
        sandbox.status = "error"
        sandbox.gone.set()
        sandbox.stopped_at = self._services.clock.timestamp()
        reason = "the sandbox's processes were killed from outside; destroy it and create a new one"
        self._services.failed(sandbox, reason)
        self._sessions.cut_off(sandbox)
        self._services.signals.send("sandbox_error", sandbox=sandbox, reason=reason)

    async def _bounded(self, step: str, work: Awaitable[T]) -> T:
        try:
            return await asyncio.wait_for(work, limits.BUILD_SECONDS)
        except asyncio.TimeoutError:
            raise SetupFailed(f"{step} took longer than {limits.BUILD_SECONDS:g} s") from None

    async def _unless_gone(self, sandbox: Sandbox, work: Coroutine[Any, Any, T]) -> T:
        """The result of `work`, which is cancelled when the sandbox goes. Raises Gone then."""
        working, gone = asyncio.ensure_future(work), asyncio.ensure_future(sandbox.gone.wait())
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

    async def _clone(self, sandbox: Sandbox, cage: Cage) -> None:
        assert sandbox.repo is not None
        url = sandbox.repo.split_credentials()[0]
        try:
            async with sandbox.disk:  # destroy removes nothing under the hands of a clone, which ends at once
                async with cage.outside() as outside:
                    clone = self._bounded("git clone", git.clone(outside, sandbox.repo))
                    await self._unless_gone(sandbox, clone)
        except (git.CloneFailed, SandboxGone, ZygoteError) as error:
            raise SetupFailed(f"cloning {url} failed: {error}") from error
        self._services.happened(sandbox, "clone", f"cloned {url} into /workspace", repo=url)
        await self._read_config(sandbox, cage)

    async def _read_config(self, sandbox: Sandbox, cage: Cage) -> None:
        """Keep the repository's `.caged.yaml` as the sandbox's `config`. Its settings are not applied: the platform's
        command line reads the file and sends them with the create (wire-other-clients.md 8.1)."""
        try:
            content = await cage.read(CONFIG_FILE, CONFIG_BYTES)
        except (OSError, OutsideOfSandbox):
            return  # there is none, or it is no file of the sandbox
        raw = {"raw": mask(sandbox, content.decode("utf-8", "replace"))} if len(content) <= CONFIG_BYTES else {}
        sandbox.config = {"source": "yaml", **raw}
        self._services.note(
            sandbox, ".caged.yaml is in the repository; its settings are not applied, only those of the create are"
        )

    async def _install_packages(self, sandbox: Sandbox, cage: Cage) -> None:
        names = " ".join(shlex.quote(name) for name in sandbox.packages)
        installer = "npm install -g" if sandbox.template.startswith("node") else "pip install"
        if sandbox.template.startswith("go"):
            installer = "go install"
        await self._step(sandbox, cage, f"{installer} {names}", f"packages {', '.join(sandbox.packages)}")

    async def _init_script(self, sandbox: Sandbox, cage: Cage) -> None:
        await self._step(sandbox, cage, sandbox.init_script or "", "init_script")

    async def _step(self, sandbox: Sandbox, cage: Cage, command: str, name: str) -> None:
        start = self._services.clock.stopwatch()
        chosen = await choose(self._services, sandbox, command)
        result = await self._bounded(name, chosen.run(sandbox, cage, command))
        milliseconds = (self._services.clock.stopwatch() - start) * 1000
        data = {"command": command, "exit_code": result.code}
        self._services.ran(sandbox, data, milliseconds, "build", stub=chosen.stub)
        said = mask(sandbox, result.output.decode("utf-8", "replace").strip())  # before any cut
        if result.code != 0:
            tail = "\n".join(said.splitlines()[-20:])
            raise SetupFailed(f"{name} failed with exit code {result.code}: {result.error or tail}")
        self._services.note(sandbox, f"{name}: done")
        if said:
            self._services.note(sandbox, said[-4000:], "output")
