"""Where a sandbox's paths are on the host, in both directions. This is the only module that knows.

A sandbox's directory holds:

    <directory>/workspace   /workspace
    <directory>/root        /root       (HOME)
    <directory>/tmp         /tmp        (TMPDIR)
    <directory>/opt         /opt/caged  (the emulator's programs; read-only)

At the levels `namespace` and `bwrap` also:

    <directory>/system/top            the root itself: new top-level entries (/app), and the mount points of the rest
    <directory>/system/changed/NAME   what the sandbox changed below /NAME: the upper layer of an overlay, in which a
                                      deleted entry is a character device 0:0
    <directory>/system/work/NAME      overlayfs's own

NAME is one of `host_view.overlaid_directories()`: etc, opt, usr, var, and bin, sbin, lib* where the host has
directories of these names. The lower layers are the emulator's mask (`mask/`) and the host's directory. Where
overlays cannot be mounted, `changed` holds copies (`copies.py`).

At the levels `namespace` and `bwrap` these are mounts, and a command sees the paths on the right.

At level `process` there are no mounts. So the paths on the right are replaced by those on the left in a command and in
its environment, and the other way round in its output.
"""

from __future__ import annotations

import copy
import functools
import os
import re
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any, Callable, Optional, TypeVar

from ..workers import checkpoint
from . import host_view, overlay_marks
from .root_calls import RootCalls

T = TypeVar("T")


WORKSPACE = "/workspace"
#: A long text is searched in windows, so that a thread can pause in between; and the longest token.
_WINDOW, _LONGEST_TOKEN = 64 * 1024, 32
WRITABLE = ("workspace", "root", "tmp")
#: In the root of a sandbox that has one of its own: where something else is mounted.
MOUNT_POINTS = ("dev", "proc", "run", "sys", *WRITABLE)
_SAFE = re.compile(r"[A-Za-z0-9_./+@-]*\Z")

# A token begins where a shell word or a value in one begins: after white space, an operator, `=`, `:`, `,`,
# an opening quote or bracket, or a one-letter option (-I/workspace/include).
_TOKEN = re.compile(
    r"""
    (?: (?<![^\s=:,;|&()<>{\[`!'"@]) | (?<=\s-[A-Za-z]) )
    (?: (?<![^\s=:,;|&(<>{\[`!@]['"])            # not behind a closing quote ("$HOME"/workspace),
      | (?<=[\s=,(\[{:][bfru]['"]) )              # though behind a Python string's prefix
    / (workspace | root | tmp | opt/caged)
    (?= [/\s;|&()<>{}\[\]`'"$:,=\\*?@!] | \Z )
    """,
    re.VERBOSE,
)


def usable_base(path: str) -> bool:
    """Return whether a directory can hold sandboxes: its path must not need quotes in a shell."""
    return os.path.isabs(path) and _SAFE.match(path) is not None


class Layout:
    """The directory of one sandbox.

    Args:
        directory: Its path on the host: absolute, without links, and below a `usable_base`.
        mounted: Whether the sandbox's paths are mounts, so that no text has to be rewritten.
        own_root: Whether the sandbox has a root of its own.
        overlays: Whether that consists of overlays, so that everything can be written.
        own_user: Whether it is in a user namespace of its own.
        root_calls: Makes calls as root of that namespace, when it has more users than root.

    Attributes:
        system: The directory of what it changed outside of WRITABLE.
        top: Its root, without what is mounted in it.
        changed: The directory of the upper layers; each has the name of a top-level directory.
        layers: Directories of layers that are mounted below what is in the sandbox's directory, topmost first.
    """

    def __init__(
        self,
        directory: Path,
        mounted: bool = False,
        own_root: bool = False,
        overlays: bool = False,
        own_user: bool = False,
        root_calls: Optional[RootCalls] = None,
    ) -> None:
        self.directory = directory
        self._root_calls = root_calls
        self._has_users = root_calls is not None or not own_user
        self.mounted = mounted
        self.own_root = own_root
        self.overlays = overlays
        self._own_user = own_user
        self.layers: tuple[Path, ...] = ()
        self.system = directory / "system"
        self.top = self.system / "top"
        self.changed = self.system / "changed"
        self.workspace = directory / "workspace"
        self.home = directory / "root"
        self.tmp = directory / "tmp"
        self.opt = directory / "opt"
        self.bin = self.opt / "bin"
        self._prefix = str(directory)
        self._prefix_bytes = os.fsencode(self._prefix)
        self._places: dict[str, str] = {
            "workspace": str(self.workspace),
            "root": str(self.home),
            "tmp": str(self.tmp),
            "opt/caged": str(self.opt),
        }

    def make(self) -> None:
        """Make the empty directories. Blocks (microseconds)."""
        self.directory.mkdir(mode=0o700)
        for name in WRITABLE:
            (self.directory / name).mkdir()
        self.tmp.chmod(0o1777)
        self.make_opt_directory()
        self.make_system()

    def make_system(self) -> None:
        """Make what is missing of the root that the sandbox has of its own. Blocks (a millisecond).

        Where something is mounted there must be a directory: a link that replaced one is removed.
        """
        if not self.own_root:
            return
        system, overlaid = str(self.system), host_view.overlaid_directories()
        is_new = not os.path.lexists(system)
        paths = [f"{system}/{part}" for part in ("top", "changed", "work")]
        paths += [f"{system}/{part}/{name}" for part in ("top", "changed", "work") for name in overlaid]
        paths += [f"{system}/top/{name}" for name in (*MOUNT_POINTS, *(host_view.EMPTY_DIRECTORIES if is_new else ()))]
        for path in (system, *paths):
            _require_directory(path)
        if is_new:
            for name, target in host_view.links().items():
                os.symlink(target, f"{system}/top/{name}")

    def make_opt_directory(self) -> None:
        """Make /opt/caged, with the directory on which an interpreter may be mounted (`isolation.PYTHON`)."""
        self.opt.mkdir()
        if self.mounted:
            (self.opt / "python").mkdir()

    def copy_library(self, *modules: str) -> str:
        """Copy modules of `inside` to where the sandbox can read them.

        Args:
            modules: Their names, with those that they import; none for all.

        Returns:
            The directory that holds the package `inside`, as the sandbox has it.
        """
        library = self.opt / "lib"
        target = library / "inside"
        for folder in (library, target, target / "__pycache__"):
            folder.mkdir(exist_ok=True)  # without its parents: the sandbox may just be removed
        source = Path(__file__).parent / "inside"
        names = ("__init__", *modules) if modules else [module.stem for module in source.glob("*.py")]
        for name in names:
            if not (target / f"{name}.py").exists():
                _copy_module(source / f"{name}.py", target)
        if "shim" in names and not (target / "shim.pl").exists():
            (target / "shim.pl").write_bytes(_perl_shim())
        return f"{self.command_path('opt/caged')}/lib"

    def with_places(self, **places: Path) -> Layout:
        """Return the same paths with other directories in place of `root` and `system`."""
        other = copy.copy(self)
        other.layers = ()
        if "root" in places:
            other.home = places["root"]
            other._places = {**self._places, "root": str(other.home)}
        if "system" in places:
            other.system = places["system"]
            other.top, other.changed = other.system / "top", other.system / "changed"
        return other

    def has_workspace(self) -> bool:
        """Return whether /workspace is a directory, or a link to one."""
        return os.path.isdir(self._places["workspace"])

    def roots(self) -> dict[str, str]:
        """Return the writable directories: the name in the sandbox's root, and the path on the host."""
        return {name: self._places[name] for name in WRITABLE}

    def kept(self) -> list[str]:
        """Return the directories on the host that hold what a sandbox has changed, which are kept as long as it is."""
        return [*self.roots().values(), *([str(self.system)] if self.own_root else [])]

    @property
    def opaque_attribute(self) -> str:
        """The extended attribute by which an overlay knows a directory that hides what lower layers have there."""
        return overlay_marks.opaque_attribute(self._own_user)

    @property
    def keeps_owners(self) -> bool:
        """Whether files on the host's disk have the owners that the sandbox has given them."""
        return self.mounted and self._has_users and os.geteuid() == 0

    @property
    def has_root_calls(self) -> bool:
        """Whether `as_root` makes calls in another process."""
        return self._root_calls is not None

    def as_root(self, function: Callable[..., T], *arguments: Any, descriptor: Optional[int] = None) -> T:
        """Return `function(*arguments)`, called by a process that may do with the sandbox's files what its root may:
        this one, or where they belong to subordinate ids, another (`root_calls.py`). Blocks.

        Args:
            function: A function of a module.
            arguments: Its arguments.
            descriptor: A descriptor that the other process gets, and the function as a last argument; see
                `RootCalls.call`. Only with `has_root_calls`.

        Raises:
            OSError: There is no such process, or the function raises it.
        """
        if self._root_calls is None:
            return function(*arguments)
        return self._root_calls.call(function, *arguments, descriptor=descriptor)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_root_calls": None}

    def command_path(self, place: str) -> str:
        """Return the path by which a command has to use `workspace`, `root`, `tmp` or `opt/caged`."""
        return f"/{place}" if self.mounted else self._places[place]

    def to_host_text(self, text: str) -> str:
        """Replace the sandbox's paths in a command or an environment value by those of the host (level `process`)."""
        if self.mounted or "/" not in text:
            return text
        pieces, done = [], 0
        for at in range(0, len(text), _WINDOW):
            checkpoint()
            # The pattern sees what follows a window, but a token must begin in it.
            for token in _TOKEN.finditer(text, max(at, done), at + _WINDOW + _LONGEST_TOKEN):
                if token.start() < at + _WINDOW:
                    pieces += [text[done : token.start()], self._places[token.group(1)]]
                    done = token.end()
        return "".join([*pieces, text[done:]])

    def to_sandbox_text(self, output: bytes) -> bytes:
        """Replace host paths in output by the sandbox's paths (level `process`)."""
        if self.mounted or self._prefix_bytes not in output:
            return output
        output = output.replace(self._prefix_bytes + b"/opt", b"/opt/caged")
        output = output.replace(self._prefix_bytes + b"/", b"/")
        return output.replace(self._prefix_bytes, b"/")

    def cut_path(self, output: bytes) -> int:
        """Return how many bytes at the end of output may be the beginning of a host path that continues in the next
        piece. Less than half of the directory's path does not count: it is nearly always something else, and holding
        it back would hide it."""
        pattern = self._prefix_bytes + b"/opt"
        for length in range(min(len(pattern) - 1, len(output)), len(self._prefix_bytes) // 2, -1):
            if output.endswith(pattern[:length]):
                return length
        return 0

    def link_to_sandbox(self, target: str) -> str:
        """Return the target of a link as it is stored in an archive, and followed by the file API."""
        if not self.mounted and (target == self._prefix or target.startswith(self._prefix + "/")):
            return os.fsdecode(self.to_sandbox_text(os.fsencode(target)))
        return target

    def link_to_host(self, target: str) -> str:
        """Return the target of a link as it is written on disk: absolute targets in the writable directories change."""
        if self.mounted:
            return target
        for name in WRITABLE:
            if target == f"/{name}" or target.startswith(f"/{name}/"):
                return self._places[name] + target[len(name) + 1 :]
        return target


@functools.cache
def _perl_shim() -> bytes:
    return Path(__file__).with_name("inside").joinpath("shim.pl").read_bytes()


def _require_directory(path: str) -> None:
    """Make a directory of mode 755, whatever the umask is, in place of anything else."""
    try:
        os.mkdir(path)
    except FileExistsError:
        if os.path.isdir(path) and not os.path.islink(path):
            return
        os.unlink(path)
        os.mkdir(path)
    os.chmod(path, 0o755)


#: Bytecode of modules that has no file.
_compiled: dict[Path, bytes] = {}


def _copy_module(module: Path, target: Path) -> None:
    """Copy a module with its time and its bytecode, which takes less time than to compile it for each program."""
    cache = Path("__pycache__", f"{module.stem}.{sys.implementation.cache_tag}.pyc")
    (target / cache).write_bytes(_bytecode(module, cache))
    part = target / f"{module.name}.{threading.get_ident()}"
    part.write_bytes(module.read_bytes())
    status = module.stat()
    os.utime(part, ns=(status.st_atime_ns, status.st_mtime_ns))
    os.replace(part, target / module.name)  # at once, because a process may be importing it


def _bytecode(module: Path, cache: Path) -> bytes:
    """Return a module's bytecode. In a checkout, what no emulator imports (the module of the shims) has no file of it,
    and would be compiled each time that a shim starts."""
    try:
        return _compiled.get(module) or (module.parent / cache).read_bytes()
    except OSError:
        import py_compile  # not needed where the emulator is installed

        with tempfile.TemporaryDirectory() as directory:
            file = os.path.join(directory, cache.name)
            py_compile.compile(str(module), cfile=file, doraise=True)
            _compiled[module] = Path(file).read_bytes()
        return _compiled[module]


def split(path: str) -> tuple[str, ...]:
    """Return the components of a path, without "." and empty ones. A relative path is below /workspace."""
    if not path.startswith("/"):
        path = f"{WORKSPACE}/{path}"
    return tuple(part for part in path.split("/") if part not in ("", "."))
