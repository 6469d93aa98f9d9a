"""Where the sandboxes of one emulator are opened: their directories and their first processes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Callable, Optional

from ..workers import Workers
from . import bwrap, disk
from .cage import Cage
from .cgroups import MemoryGroup
from .chosen_isolation import ChosenIsolation
from .crash_recovery import refurnish
from .inside.processes import descendants
from .isolation import IsolationLevel
from .paths import Layout
from .process import SandboxGone, SandboxProcesses
from .programs import Programs
from .proxy import Proxy
from .shim_rpc import Asked
from .zygote import Zygote


@dataclass(frozen=True)
class Limits:
    """What a sandbox may take: memory of each process (0: limited otherwise), cores, size of a file, number of
    processes."""

    memory_mb: int
    cpus: int
    disk_gb: int
    processes: int


@dataclass(frozen=True)
class SandboxSpec:
    """What one sandbox gets. `show`: host directories that its programs need. `proxy`: serves the network
    `allowlist`. `memory`: the control group that it joins, removed with it. `on_lost`: its init died without having
    been asked to. `on_ask`: answers programs inside. `on_overrun`: all was killed, there were too many processes.
    `again`: over the directory that it has already, which stays whatever happens."""

    sandbox_id: str
    network: str = "full"
    show: Sequence[str] = ()
    proxy: Optional[Proxy] = None
    limits: Optional[Limits] = None
    again: bool = False
    memory: Optional[MemoryGroup] = None
    on_lost: Callable[[], None] = lambda: None
    on_ask: Optional[Asked] = None
    on_overrun: Callable[[int], None] = lambda count: None


class Provisioner:
    """`run_dir`: the emulator's, in which directories that are made ahead wait."""

    def __init__(
        self, run_dir: Path, zygote: Zygote, isolation: ChosenIsolation, shell: str, workers: Optional[Workers] = None
    ) -> None:
        self._chosen = isolation
        self._workers = workers or Workers()
        self._root = run_dir / "isolation"
        self._root.mkdir(exist_ok=True)
        self._spare = run_dir / "spare"
        self._has_spare = False
        self._preparing = False
        self._zygote = zygote
        self._shell = shell

    @property
    def isolation(self) -> IsolationLevel:
        return self._chosen.current

    async def prepare(self) -> None:
        """Makes the directory of the next sandbox: a dozen entries on a disk take longer than its processes."""
        if self._has_spare or self._preparing:
            return
        self._preparing = True
        try:
            await self._workers.small.run(self._make_spare)
            self._has_spare = True
        finally:
            self._preparing = False

    def _make_spare(self) -> None:
        try:
            _furnish(self.isolation.layout(self._spare))
        except BaseException:
            disk.remove(self._spare)
            raise

    def _take(self, layout: Layout) -> None:
        """The directory of a new sandbox, its workspace as if made now."""
        if layout.directory.exists():
            raise FileExistsError(f"{layout.directory} is there already")
        if not self._has_spare:
            _furnish(layout)
            return
        self._has_spare = False
        self._spare.rename(layout.directory)
        for place in layout.roots().values():
            os.utime(place)

    async def open(self, directory: Path, plan: SandboxSpec) -> Cage:
        """Makes the directory and the init of a new sandbox. On failure nothing is left. Raises Gone, OSError,
        ZygoteError."""
        layout = self.isolation.layout(directory)
        processes: Optional[SandboxProcesses] = None
        try:
            if plan.again:
                await self._workers.walk.run(refurnish, layout)
            else:
                self._take(layout)
            control = await self._zygote.create(self._spec(layout, plan))
            processes = SandboxProcesses(control, plan.on_lost, plan.on_ask, plan.on_overrun)
            listening = await processes.ready()
            if listening is not None and plan.proxy is not None:
                await plan.proxy.start(listening)
            if plan.memory is not None:
                init = await self._zygote.init_of(plan.sandbox_id)
                plan.memory.add([init, *descendants([init])])  # behind bwrap, init is its child
            programs = Programs(layout, self.isolation.ask_dir(layout), self.isolation.python())
            return Cage(
                plan.sandbox_id,
                layout,
                self._shell,
                self._zygote,
                processes,
                programs,
                plan.proxy,
                plan.memory,
                self._workers,
            )
        except BaseException as error:
            if processes is not None:
                await processes.stop()
            if plan.memory is not None:
                await plan.memory.remove()
            said = bwrap.complaint(layout) if isinstance(error, SandboxGone) else ""
            if not plan.again and not isinstance(error, FileExistsError):
                disk.remove(directory)
            if said:
                raise SandboxGone(said) from error
            raise

    def _spec(self, layout: Layout, plan: SandboxSpec) -> dict[str, object]:
        spec = self.isolation.spec(plan.sandbox_id, layout, plan.network, plan.show)
        spec["root"] = str(self._root)
        if plan.limits is not None:
            spec["limits"] = asdict(plan.limits)
        if self.isolation.level == "bwrap":
            layout.lend_library()
            spec["bwrap"] = bwrap.command(self.isolation.bwrap, spec, layout)
            spec["bwrap_said"] = str(layout.directory / bwrap.SAID)
        return spec


#: A login shell begins with the host's /etc/profile, which forgets where the emulator's programs are. No path of the
#: directory stands here: it is made ahead, under another name.
_PROFILE = """\
__bin=/opt/caged/bin
[ "$HOME" = /root ] || __bin=${HOME%/root}/opt/bin
case ":$PATH:" in
    *":$__bin:"*) ;;
    *) PATH=$__bin:$HOME/.local/bin:$PATH ;;
esac
unset __bin
"""


def _furnish(layout: Layout) -> None:
    """The directories, and settings by which package managers install into the sandbox's own home, never into the
    host's interpreter."""
    layout.make()
    for place in (layout.workspace, layout.home, layout.opt):
        place.chmod(0o755)  # whatever the umask of the emulator is
    pip = layout.home / ".pip"
    pip.mkdir()
    (pip / "pip.conf").write_text(
        "[global]\nuser = true\nbreak-system-packages = true\ndisable-pip-version-check = true\n", encoding="utf-8"
    )
    (layout.home / ".npmrc").write_text("prefix=${HOME}/.local\n", encoding="utf-8")
    (layout.home / ".profile").write_text(_PROFILE, encoding="utf-8")
