"""Opening sandboxes: their directories and their first processes."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Callable, Optional

from .. import descriptors
from ..workers import Workers
from . import bwrap, copies, disk, host_view, hosts_file, layers, shells, sudo
from .cage import Cage
from .cgroups import MemoryGroup
from .chosen_isolation import ChosenIsolation
from .crash_recovery import recover_directory
from .init_client import InitClient, SandboxGone
from .init_spec import InitSpec, RootSpec
from .inside.processes import descendants
from .isolation import IsolationLevel
from .mask.mask import Mask, mask_of
from .paths import Layout
from .pool import ReadySandbox, SandboxPool
from .programs import Programs
from .proxy import Proxy
from .shim_rpc import ShimHandler
from .toolchains import STANDARD_PATH
from .zygote import Zygote

#: Seconds for the first command of a sandbox that is made in advance.
WARM_UP_LIMIT = 5.0


@dataclass(frozen=True)
class Limits:
    """The limits of one sandbox.

    Attributes:
        memory_mb: MiB of memory of each process; 0 where a control group limits the sandbox as a whole.
        cpus: The number of cores.
        disk_gb: GiB of a single file.
        processes: The number of processes and threads at a time.
    """

    memory_mb: int
    cpus: int
    disk_gb: int
    processes: int


@dataclass(frozen=True)
class SandboxSpec:
    """What a sandbox consists of.

    Attributes:
        sandbox_id: Its id, which is also its host name.
        network: "full", "none" or "allowlist".
        show: Host directories that its programs need, although they may be below a hidden one.
        proxy: The proxy for the network "allowlist".
        limits: Its limits; None for none.
        layers: Directories of layers that it sees below what it changes itself, topmost first (`layers.py`).
        owns_layers: Whether the layers are copied, since the sandbox has to outlive them.
        has_directory: Whether it has a directory already, which is then kept even when the start fails.
        memory: The control group that it joins, and that is removed with it.
        on_lost: Called when its init ends without having been stopped.
        on_shim_request: Replies to the shims in it.
        on_overrun: Called with the number of its processes after all were killed because there were too many.
        on_missing: Called with the name of each writable directory that was missing in it, and is empty now.
    """

    sandbox_id: str
    network: str = "full"
    show: Sequence[str] = ()
    proxy: Optional[Proxy] = None
    limits: Optional[Limits] = None
    layers: Sequence[Path] = ()
    owns_layers: bool = False
    has_directory: bool = False
    memory: Optional[MemoryGroup] = None
    on_lost: Callable[[], None] = lambda: None
    on_shim_request: Optional[ShimHandler] = None
    on_overrun: Callable[[int], None] = lambda count: None
    on_missing: Callable[[str], None] = lambda name: None


@dataclass(frozen=True)
class SandboxKind:
    """What cannot be changed after the start of a sandbox.

    Attributes:
        isolation: Its level.
        mask: The directory of the mask; see `mask/`.
        spec: What it consists of, without what `_assign_ready` gives it. A new field belongs to the kind by itself.
    """

    isolation: IsolationLevel
    mask: str
    spec: SandboxSpec


#: What a sandbox gets when it is assigned.
_ASSIGNED: dict[str, Any] = {
    field.name: field.default
    for field in fields(SandboxSpec)
    if field.name in ("proxy", "memory", "on_lost", "on_shim_request", "on_overrun", "on_missing")
}


class Provisioner:
    """Opens the sandboxes of one emulator.

    Args:
        run_dir: The emulator's directory, in which the directory of the next sandbox is prepared.
        zygote: Starts their first processes.
        isolation: The level that all of them have.
        shell: The path of the shell that runs commands.
        workers: Threads for what blocks.

    Attributes:
        pool: The ready-made sandboxes.
    """

    def __init__(
        self, run_dir: Path, zygote: Zygote, isolation: ChosenIsolation, shell: str, workers: Optional[Workers] = None
    ) -> None:
        self._chosen = isolation
        self._workers = workers or Workers()
        self._root = run_dir / "isolation"
        self._root.mkdir(exist_ok=True)
        self._contents: Optional[copies.RootContents] = None
        self._spare = run_dir / "spare"
        self._has_spare = False
        self._preparing = False
        self._run_dir = run_dir
        self._zygote = zygote
        self._shell = shell
        self.pool: SandboxPool[SandboxKind] = SandboxPool(self._make_ready, self._discard_ready)

    @property
    def isolation(self) -> IsolationLevel:
        return self._chosen.current

    async def prepare(self) -> None:
        """Make the directory of the next sandbox: a dozen entries on a disk take longer than its processes."""
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
            self._make_directory(self.isolation.layout(self._spare))
        except BaseException:
            disk.remove(self._spare)
            raise

    def _use_spare(self, layout: Layout) -> None:
        """Make the directory of a new sandbox, from the prepared one if there is one, with the current time."""
        _require_new(layout)
        if not self._has_spare:
            self._make_directory(layout)
            return
        self._has_spare = False
        self._spare.rename(layout.directory)
        _set_times(layout)

    def _make_directory(self, layout: Layout) -> None:
        _make_directory(layout)
        self._prepare_root(layout)

    def _mask(self) -> Mask:
        return mask_of(self._run_dir, self.isolation.hide, self.isolation.in_user_namespace)

    def _current_mask(self) -> str:
        """Return the directory of the mask; "" where the root of a sandbox does not consist of overlays."""
        return self._mask().current() if self.isolation.root == "overlays" else ""

    def _prepare_root(self, layout: Layout) -> RootSpec:
        """Make what the root of a sandbox consists of, and return what init needs to know of it."""
        isolation = self.isolation
        if isolation.own_root:
            sudo.install(layout.bin, isolation.in_user_namespace)
        if isolation.root == "overlays":
            mask, overlaid = self._current_mask(), list(host_view.overlaid_directories())
            return {"mask": mask, "overlaid": overlaid, "complete": list(self._mask().complete)}
        if isolation.root == "copies":
            if self._contents is None:
                self._contents = copies.list_contents(isolation.hide)
            copies.fill(layout, self._contents, isolation.in_user_namespace)
            names = host_view.overlaid_directories()
            programs = [name for name in names if name in host_view.PROGRAM_DIRECTORIES]
            bound = [f"/{path}" for path in self._contents.bound]
            return {"programs": programs, "copied": list(copies.COPIED), "bound": bound}
        return {}

    async def open(self, directory: Path, sandbox: SandboxSpec) -> Cage:
        """Make the directory and the init of a sandbox, or assign one that was made before. On failure neither is left.

        Args:
            directory: The sandbox's directory on the host.
            sandbox: What it consists of.

        Raises:
            SandboxGone: Its isolation cannot be built.
            OSError: The directory cannot be made. DirectoryReplaced: the one that it has was replaced.
            ZygoteError: No process can be started.
        """
        layout = self.isolation.layout(directory)
        init: Optional[InitClient] = None
        try:
            ready = await self._assign_ready(layout, sandbox) if self._can_be_ready(sandbox) else None
            if ready is not None:
                init, listening = ready.init, ready.listening
            else:
                await self.free_descriptors(descriptors.has_room_for_sandbox)
                await self._make_or_recover(layout, sandbox)
                control = await self._zygote.create(self._spec(layout, sandbox))
                init = InitClient(control, sandbox.on_lost, sandbox.on_shim_request, sandbox.on_overrun)
                listening = await init.ready()
            if listening is not None and sandbox.proxy is not None:
                await sandbox.proxy.start(listening)
            if sandbox.memory is not None:
                pid = await self._zygote.init_of(sandbox.sandbox_id)
                sandbox.memory.add([pid, *descendants([pid])])  # at level `bwrap`, init is a child of bwrap
            cage = self._cage(layout, sandbox, init)
            if not sandbox.has_directory:
                cage.note_new()
            return cage
        except BaseException as error:
            if init is not None:
                await init.stop()
            if sandbox.memory is not None:
                await sandbox.memory.remove()
            reason = bwrap.errors(layout) if isinstance(error, SandboxGone) else ""
            if not sandbox.has_directory and not isinstance(error, FileExistsError):
                await self._remove(directory)
            if reason:
                raise SandboxGone(reason) from error
            raise

    def _cage(self, layout: Layout, sandbox: SandboxSpec, init: InitClient) -> Cage:
        return Cage(
            sandbox.sandbox_id,
            layout,
            self._shell,
            self._zygote,
            init,
            Programs(layout, self.isolation.shim_socket_dir(layout), self.isolation.python()),
            sandbox.proxy,
            sandbox.memory,
            self._workers,
        )

    async def _make_or_recover(self, layout: Layout, sandbox: SandboxSpec) -> None:
        if sandbox.has_directory:
            for name in await self._workers.walk.run(layout.as_root, recover_directory, layout):
                sandbox.on_missing(name)
            if layout.own_root:
                etc = layout.changed / "etc"
                await self._workers.walk.run(layout.as_root, hosts_file.write, etc, sandbox.sandbox_id)
        else:
            self._use_spare(layout)
            await self._copy_layers(layout, sandbox)

    # --- layers

    async def _copy_layers(self, layout: Layout, sandbox: SandboxSpec) -> None:
        """Copy what is not mounted of the sandbox's layers."""
        if sandbox.layers:
            everything = not self._mounts_layers(sandbox)
            await self._workers.copy.run(layout.as_root, layers.copy_into, sandbox.layers, layout, everything)

    def _mounts_layers(self, sandbox: SandboxSpec) -> bool:
        can_mount = self.isolation.root == "overlays" and layers.are_mountable(sandbox.layers)
        return can_mount and not sandbox.owns_layers

    def _layers(self, layout: Layout, sandbox: SandboxSpec) -> dict[str, list[str]]:
        """Return what is mounted of the sandbox's layers, and make what else these mounts need."""
        if sandbox.has_directory or not self._mounts_layers(sandbox):
            return {}
        layout.layers = tuple(sandbox.layers)
        parts = layers.mounted_parts(sandbox.layers)
        for name in ("top", "root"):
            if name in parts:
                (layout.system / "work" / name).mkdir(exist_ok=True)
        if "top" in parts:
            layers.uncover(sandbox.layers, layout)
        return parts

    # --- ready-made sandboxes

    @property
    def descriptors_of_ready(self) -> int:
        """How many descriptors of this process ready-made sandboxes hold, which `free_descriptors` frees."""
        return self.pool.descriptors

    async def free_descriptors(self, has_room: Callable[[], bool]) -> None:
        """Remove the ready-made sandboxes, unless there is room without that."""
        if not has_room():
            await self.pool.release()

    def start_freeing_descriptors(self) -> None:
        """Begin to remove the ready-made sandboxes."""
        self.pool.start_releasing()

    async def close(self) -> None:
        """Remove the sandboxes that were made before they were requested."""
        await self.pool.close()

    def _can_be_ready(self, sandbox: SandboxSpec) -> bool:
        """Whether one may be made before it is requested. Layers that are copied may go meanwhile."""
        return not sandbox.has_directory and (not sandbox.layers or self._mounts_layers(sandbox))

    def _kind(self, sandbox: SandboxSpec) -> SandboxKind:
        spec = replace(sandbox, sandbox_id="", show=tuple(sandbox.show), layers=tuple(sandbox.layers), **_ASSIGNED)
        return SandboxKind(self.isolation, self._current_mask(), spec)

    async def _assign_ready(self, layout: Layout, sandbox: SandboxSpec) -> Optional[ReadySandbox]:
        """Make a ready-made sandbox the requested one: its directory, its host name, and which callbacks it reports to.
        None where there is none. Raises FileExistsError."""
        kind = self._kind(sandbox)
        while True:
            ready = self.pool.take(kind)
            if ready is None:
                return None
            try:
                below = layers.hosts_files(sandbox.layers)
                hosts = hosts_file.content_for(sandbox.sandbox_id, below) if layout.own_root else None
                await ready.init.assign(sandbox.sandbox_id, hosts)
                self._give(ready, layout, sandbox)
                return ready
            except SandboxGone:
                await self._discard_ready(ready)  # its init has just ended
            except BaseException:
                await self._discard_ready(ready)
                raise

    def _give(self, ready: ReadySandbox, layout: Layout, sandbox: SandboxSpec) -> None:
        """Make the directory and the processes of a ready-made sandbox those of the requested one."""
        if not ready.init.alive:
            raise SandboxGone("the sandbox's processes are gone")
        _require_new(layout)
        _set_times(ready.layout)
        layout.layers = ready.layout.layers
        ready.layout.directory.rename(layout.directory)
        self._zygote.rename(ready.id, sandbox.sandbox_id)
        ready.init.report_to(sandbox.on_lost, sandbox.on_shim_request, sandbox.on_overrun)

    async def _make_ready(self, kind: SandboxKind) -> ReadySandbox:
        """Build a sandbox that belongs to nothing. Raises as `open`; nothing is left then."""
        identifier = f"ready-{secrets.token_hex(8)}"
        layout = kind.isolation.layout(self._run_dir / identifier)
        sandbox = replace(kind.spec, sandbox_id=identifier)
        init: Optional[InitClient] = None
        listening: Optional[socket.socket] = None
        try:
            await self._workers.small.run(self._make_directory, layout)
            await self._copy_layers(layout, sandbox)
            spec = self._spec(layout, sandbox)
            if self.isolation != kind.isolation or spec.get("mask", "") != kind.mask:
                raise SandboxGone("the isolation level, or what of the host is seen, has changed meanwhile")
            control = await self._zygote.create(spec)
            init = InitClient(control, lambda: self.pool.lose(init) if init is not None else None)
            listening = await init.ready()
            await self._zygote.init_of(identifier)
            # The first command is slow: nothing of the new root is in the kernel's caches, and init is a fresh copy. A
            # shell reads more than a dozen files for its locale.
            place = layout.command_path("workspace")
            environment = {"PATH": STANDARD_PATH, "LANG": shells.LOCALE}
            result = await init.run([self._shell, "-c", ":"], environment, place, seconds=WARM_UP_LIMIT)
            if result.timed_out or result.error is not None or result.code != 0:
                reason = f"was killed after {WARM_UP_LIMIT:g} s" if result.timed_out else f"exited with {result.code}"
                raise SandboxGone(f"its shell {result.error or reason}")
            return ReadySandbox(identifier, layout, init, listening)
        except BaseException:
            if listening is not None:
                listening.close()
            if init is not None:
                await init.stop()
            self._zygote.inits.pop(identifier, None)
            await self._remove(layout.directory)
            raise

    async def _discard_ready(self, ready: ReadySandbox) -> None:
        if ready.listening is not None:
            ready.listening.close()
        await ready.init.stop()
        self._zygote.inits.pop(ready.id, None)
        await self._remove(ready.layout.directory)

    async def _remove(self, directory: Path) -> None:
        """Remove a directory, also when the caller is cancelled meanwhile."""
        await asyncio.shield(self._workers.walk.run(disk.remove, directory))

    def _spec(self, layout: Layout, sandbox: SandboxSpec) -> InitSpec:
        spec = self.isolation.spec(sandbox.sandbox_id, layout, sandbox.network, sandbox.show)
        spec["root"] = str(self._root)
        if layout.own_root:
            spec = {**spec, **self._prepare_root(layout)}
            spec["layers"] = self._layers(layout, sandbox)
            if not sandbox.has_directory:
                below = layers.hosts_files(sandbox.layers)
                hosts_file.write(layout.changed / "etc", sandbox.sandbox_id, below)
        if sandbox.limits is not None:
            spec["limits"] = asdict(sandbox.limits)
        if self.isolation.level == "bwrap":
            layout.copy_library()
            spec["bwrap"] = bwrap.command(self.isolation.bwrap, spec, layout)
            spec["bwrap_errors"] = str(layout.directory / bwrap.ERRORS)
        return spec


#: A login shell begins with the host's /etc/profile, which removes the emulator's programs from PATH. The path of the
#: sandbox's directory cannot be in it, because the directory is prepared under another name.
_PROFILE = """\
__bin=/opt/caged/bin
[ "$HOME" = /root ] || __bin=${HOME%/root}/opt/bin
case ":$PATH:" in
    *":$__bin:"*) ;;
    *) PATH=$__bin:$HOME/.local/bin:$PATH ;;
esac
unset __bin
"""


_PIP_SETTINGS = "[global]\nbreak-system-packages = true\ndisable-pip-version-check = true\n"
#: Where the interpreter may be the host's own. pip refuses this in virtual environments. With a root of its own, pip
#: installs as on any machine: beside the interpreter where it may, and else into the home.
_PIP_INTO_HOME = "user = true\n"


def _require_new(layout: Layout) -> None:
    if layout.directory.exists():
        raise FileExistsError(f"{layout.directory} exists already")


def _set_times(layout: Layout) -> None:
    """Give the directories of a sandbox that was prepared the present time."""
    for place in layout.roots().values():
        os.utime(place)


def _make_directory(layout: Layout) -> None:
    """Make the directories, and settings by which package managers never install into the host's interpreter."""
    layout.make()
    pip = layout.home / ".pip"
    pip.mkdir()
    for place in (layout.workspace, layout.home, layout.opt, pip):
        place.chmod(0o755)  # whatever the umask of the emulator is
    for path, content in (
        (pip / "pip.conf", _PIP_SETTINGS + ("" if layout.own_root else _PIP_INTO_HOME)),
        (layout.home / ".npmrc", "prefix=${HOME}/.local\n"),
        (layout.home / ".profile", _PROFILE),
    ):
        path.write_text(content, encoding="utf-8")
        path.chmod(0o644)
