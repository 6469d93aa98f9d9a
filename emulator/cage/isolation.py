"""The isolation levels: what each passes to the init of a sandbox, and which host directories it hides."""

from __future__ import annotations

import functools
import os
import pwd
import shutil
import sys
import tempfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

from . import host_view, proxy
from .inside.root_filesystem import is_own
from .paths import Layout
from .root_calls import RootCalls
from .subordinate_ids import SubordinateIds

#: Strongest first. `auto` takes the first that works; `namespace` by name takes the first two.
LEVELS = ("namespace", "bwrap", "process")
#: Where the emulator's programs inside find an interpreter whose own directory is hidden.
PYTHON = "/opt/caged/python"
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
        return not below(path, "/usr") and not any(below(hidden, path) for hidden in self.hide)

    def _must_show(self, path: str) -> bool:
        """Whether a directory that may be shown is not seen without that."""
        hidden = any(below(path, directory) for directory in self.hide)
        return hidden or not host_view.is_listed(path.strip("/"))

    def shim_socket_dir(self, layout: Layout) -> str:
        """The directory, as the sandbox has it, in which init listens for shims."""
        return str(layout.opt) if self.level == "process" else "/run"

    def _shown_as_python(self) -> str:
        """The prefix of the emulator's interpreter if it has to be shown as PYTHON, because its own directory is hidden
        or covered by one of the sandbox's; else ""."""
        prefix = interpreter()[1]
        hidden = is_own(prefix) or any(below(prefix, path) for path in self.hide)
        hidden = hidden or (self.own_root and self._must_show(prefix))
        return prefix if self.level != "process" and hidden and self._may_show(prefix) else ""

    def python(self) -> str:
        """The path by which the emulator's programs inside have to call its interpreter."""
        program, prefix = interpreter()
        if self._shown_as_python() and below(program, prefix):
            return PYTHON + program[len(prefix) :]
        return program

    def spec(self, sandbox_id: str, layout: Layout, network: str, show: Sequence[str]) -> dict[str, Any]:
        """Return what the zygote and init need to know of a sandbox, as JSON.

        Args:
            sandbox_id: Its id, which is also its host name.
            layout: Its directory.
            network: "full", "none" or "allowlist".
            show: Host directories that must be seen although they may be below a hidden one.
        """
        spec: dict[str, Any] = {
            "id": sandbox_id,
            "isolation": self.level,
            "directory": str(layout.directory),
            "network": network,
            "hide": list(self.hide),
            "show": sorted({path for path in show if self._may_show(path) and self._must_show(path)}, key=len),
            "root_kind": self.root,
            "own_user": self.in_user_namespace,
            "users": self.ids.as_json() if self.ids is not None else None,
            # Selects the first of its cores. Any number that differs from sandbox to sandbox distributes them.
            "core": sum(sandbox_id.encode()),
            "python": self._shown_as_python(),
            # Whether root inside is the machine's own, who may change kernel settings.
            "real_root": os.geteuid() == 0,
            "proxy_port": proxy.PORT,
            # Whether the kernel counts processes per sandbox: not for the machine's real root, whatever namespace, and
            # not where a sandbox has several users, because each has the limit for itself.
            "counted": self.level != "process" and os.geteuid() != 0 and self.ids is None,
            # Without namespaces: whether its processes are kept from signalling others; and candidate user ids. Init
            # switches to the first that exists on this machine, where root could signal other sandboxes.
            "confine": self.level == "process" and self.confine,
            "own_users": _own_users(sandbox_id),
        }
        return spec


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


#: System directories. Some service accounts have one of them as their home.
_SHARED_TOP = ("", "bin", "boot", "dev", "etc", "lib", "lib32", "lib64", "proc", "run", "sbin", "sys", "usr")

#: Those of them that hold nothing but programs and libraries.
_PROGRAMS = ("bin", "boot", "lib", "lib32", "lib64", "sbin")


def hidden_directories(run_dir: Path, key_directories: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the developer's homes, the directories of emulators (this one's and, beside it, others'), and those with
    keys.

    A file with a key is hidden by hiding its directory: what is mounted over a file disappears when the file is
    replaced, and nothing can be mounted over one that does not exist yet. Root in a sandbox reads a file of mode 0600.
    """
    homes = {os.path.expanduser("~"), "/home", "/root", str(run_dir.parent), tempfile.gettempdir()}
    try:
        homes.add(pwd.getpwuid(os.geteuid()).pw_dir)
    except KeyError:
        pass
    resolved = {os.path.realpath(path) for path in homes if path}
    hidden = {p for p in resolved if p.split("/")[1] not in _SHARED_TOP and p not in ("/var", "/opt")}
    hidden.update(path for path in key_directories if can_be_hidden(path) and not is_never_visible(path))
    return tuple(sorted(path for path in hidden if not any(below(path, other) for other in hidden - {path})))


def is_never_visible(directory: str) -> bool:
    """Whether a directory is never seen inside: a sandbox has one of its own there, or (/, /opt) shows no files."""
    return directory in ("/", "/opt") or is_own(directory)


def can_be_hidden(directory: str) -> bool:
    """Whether a sandbox works without a directory: not one with the system's programs, libraries or settings."""
    parts = directory.strip("/").split("/")
    if is_never_visible(directory):
        return True
    if parts[0] == "usr":  # /usr/local/share and its like are shared, what is below /usr/bin and /usr/lib is in use
        return len(parts) > 3 and parts[1] in ("local", "share") and parts[2] not in ("bin", "lib", "sbin")
    return parts[0] not in _PROGRAMS and (len(parts) > 1 or parts[0] not in (*_SHARED_TOP, "var"))


def key_directory(path: Path) -> str:
    """Return the directory that has to be hidden to hide a file: its own, or the deepest of its parents that exists."""
    directory = os.path.realpath(path.parent)
    while not os.path.isdir(directory):
        directory = os.path.dirname(directory)
    return directory


def below(path: str, directory: str) -> bool:
    """Whether a path is a directory or lies in it."""
    return path == directory or path.startswith(directory.rstrip("/") + "/")


@functools.lru_cache(maxsize=1)
def interpreter() -> tuple[str, str]:
    """Return program and prefix of the Python that runs the emulator's programs inside a sandbox: the base of a virtual
    environment."""
    program = os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)
    return program, sys.base_prefix


@dataclass(frozen=True)
class ProbeResult:
    """Whether a level works on this machine.

    Attributes:
        level: One of LEVELS.
        works: Whether it does.
        reason: Why it does not; for one that works, what it consists of.
        fix: What to do about it; "" when that is not known or not needed.
        confined: Whether the signals of a command reach its own sandbox only.
        root: How the root of a sandbox is made; one of ROOTS, and "" at level `process`.
        root_refused: Why it is not made in the better way; "" if it is.
        ids: The users of a sandbox's user namespace; None for root alone, or without such a namespace.
        ids_refused: Why it has root alone; "" if it does not.
        ids_fix: What to do about that; "" when that is not known or not needed.
    """

    level: str
    works: bool
    reason: str
    fix: str = ""
    confined: bool = True
    root: str = ""
    root_refused: str = ""
    ids: Optional[SubordinateIds] = None
    ids_refused: str = ""
    ids_fix: str = ""
