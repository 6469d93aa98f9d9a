"""The isolation levels: what each is on this machine, and what it passes to the init of a sandbox."""

from __future__ import annotations

import functools
import os
import shutil
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

from . import host_view, proxy
from .hidden_directories import hidden_directories
from .host_view import is_below
from .init_spec import InitSpec
from .inside.root_filesystem import is_own
from .interpreter import PYTHON, interpreter
from .paths import Layout
from .root_calls import RootCalls
from .subordinate_ids import SubordinateIds

#: Strongest first. `auto` takes the first that works; `namespace` by name takes the first two.
LEVELS = ("namespace", "bwrap", "process")
#: How the root of a sandbox is made, best first: everything can be written; or a part, see `copies.py`.
ROOTS = ("overlays", "copies")
ROOT_DESCRIPTIONS = {
    "overlays": "copy-on-write root",
    "copies": "root partly writable, /usr and package databases read-only",
}


@dataclass(frozen=True)
class IsolationLevel:
    """An isolation level with the settings of this machine, for any number of sandboxes.

    Attributes:
        level: One of LEVELS.
        hide: Host directories that no sandbox sees.
        bwrap: The path of bubblewrap, for the level of that name.
        confine: Whether signals are kept inside at level `process`; False for the emulator's own work.
        root: One of ROOTS; "" at level `process`.
        ids: The users of a sandbox's user namespace; None for root alone, or without such a namespace.
        root_calls: Makes calls as root of such a namespace; None without `ids`.
    """

    level: str
    hide: tuple[str, ...] = ()
    bwrap: str = ""
    confine: bool = True
    root: str = ""
    ids: Optional[SubordinateIds] = None
    root_calls: Optional[RootCalls] = field(default=None, compare=False)

    @property
    def own_root(self) -> bool:
        """Whether sandboxes have a root of their own."""
        return self.root != ""

    def describe(self) -> str:
        """Return the level, how the root of a sandbox is made, and how many users it has if these are mapped."""
        users = f"{self.ids.count:,} users" if self.ids is not None else ""
        return ", ".join(part for part in (self.level, ROOT_DESCRIPTIONS.get(self.root, ""), users) if part)

    @property
    def in_user_namespace(self) -> bool:
        """Whether a sandbox is in a user namespace of its own, where most of the host's users have no number."""
        return self.level == "bwrap" or not _may_mount()

    @property
    def own_network(self) -> bool:
        """Whether network modes other than `full` can be enforced."""
        return self.level != "process"

    def layout(self, directory: Path) -> Layout:
        return Layout(
            directory,
            mounted=self.level != "process",
            own_root=self.own_root,
            overlays=self.root == "overlays",
            own_user=self.level != "process" and self.in_user_namespace,
            root_calls=self.root_calls,
        )

    def close(self) -> None:
        """End the process that works on the sandboxes' files, if there is one. Blocks."""
        if self.root_calls is not None:
            self.root_calls.close()

    def _may_show(self, path: str) -> bool:
        """Whether a toolchain's directory may be shown: never a whole home (the prefix of a ~/bin/node)."""
        return not is_below(path, "/usr") and not any(is_below(hidden, path) for hidden in self.hide)

    def _must_show(self, path: str) -> bool:
        """Whether a directory that may be shown is not seen without that."""
        hidden = any(is_below(path, directory) for directory in self.hide)
        return hidden or not host_view.is_listed(path.strip("/"))

    def shim_socket_dir(self, layout: Layout) -> str:
        """The directory, as the sandbox has it, in which init listens for shims."""
        return str(layout.opt) if self.level == "process" else "/run"

    def _shown_as_python(self) -> str:
        """The prefix of the emulator's interpreter if it has to be shown as PYTHON, because its own directory is hidden
        or covered by one of the sandbox's; else ""."""
        prefix = interpreter()[1]
        hidden = is_own(prefix) or any(is_below(prefix, path) for path in self.hide)
        hidden = hidden or (self.own_root and self._must_show(prefix))
        return prefix if self.level != "process" and hidden and self._may_show(prefix) else ""

    def python(self) -> str:
        """The path by which the emulator's programs inside have to call its interpreter."""
        program, prefix = interpreter()
        if self._shown_as_python() and is_below(program, prefix):
            return PYTHON + program[len(prefix) :]
        return program

    def spec(self, sandbox_id: str, layout: Layout, network: str, show: Sequence[str]) -> InitSpec:
        """Return what the zygote and init need to know of a sandbox.

        Args:
            sandbox_id: Its id, which is also its host name.
            layout: Its directory.
            network: "full", "none" or "allowlist".
            show: Host directories that must be seen although they may be below a hidden one.
        """
        return {
            "id": sandbox_id,
            "isolation": self.level,
            "directory": str(layout.directory),
            "network": network,
            "hide": list(self.hide),
            "show": sorted({path for path in show if self._may_show(path) and self._must_show(path)}, key=len),
            "root_kind": self.root,
            "own_user": self.in_user_namespace,
            "users": self.ids.as_json() if self.ids is not None else None,
            "core": sum(sandbox_id.encode()),
            "python": self._shown_as_python(),
            "real_root": os.geteuid() == 0,
            "proxy_port": proxy.PORT,
            "counted": self.level != "process" and os.geteuid() != 0 and self.ids is None,
            "confine": self.level == "process" and self.confine,
            "own_users": _own_users(sandbox_id),
        }


#: User numbers that are normally unused: above those that systemd and subuid give to containers, and, for a container
#: that has only the first 65536, above those of people and below those of services.
_OWN_USERS = (0x70000000, 0x1000000), (40000, 20000)


#: CAP_SYS_ADMIN, in the set of effective capabilities.
_SYS_ADMIN = 1 << 21


@functools.cache
def _may_mount() -> bool:
    """Whether this process may mount without a user namespace: not a root without rights, as in a container."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return False
    effective = status.partition("CapEff:")[2].split()
    return bool(effective) and bool(int(effective[0], 16) & _SYS_ADMIN)


def _own_users(sandbox_id: str) -> list[int]:
    """User numbers for one sandbox, the same each time: one of each range, best first."""
    number = zlib.crc32(sandbox_id.encode())
    return [first + number % count for first, count in _OWN_USERS]


def isolation_for(
    level: str,
    run_dir: Path,
    key_directories: Sequence[str] = (),
    root: str = ROOTS[0],
    ids: Optional[SubordinateIds] = None,
    held: tuple[int, ...] = (),
) -> IsolationLevel:
    """Return a level with the settings of this machine, whether it works here or not.

    Args:
        level: One of LEVELS.
        run_dir: The emulator's directory, which is hidden with those beside it.
        key_directories: Directories in which the emulator writes keys.
        root: One of ROOTS, for the levels that have one.
        ids: The users of a sandbox, for level `namespace` in a user namespace; None for root alone.
        held: Descriptors that a process that works on the sandboxes' files keeps open.
    """
    if level == "process":
        return IsolationLevel(level)
    hide = hidden_directories(run_dir, key_directories)
    if level == "bwrap":
        return IsolationLevel(level, hide, shutil.which("bwrap") or "", root=root)
    return IsolationLevel(level, hide, root=root, ids=ids, root_calls=RootCalls(ids, held) if ids else None)
