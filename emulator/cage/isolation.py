"""The isolation that a sandbox can have: what each level tells its init, and what its layout looks like."""

from __future__ import annotations

import os
import pwd
import shutil
import sys
import tempfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from . import proxy
from .inside.root_filesystem import is_own
from .paths import Layout

#: Strongest first. `auto` takes the first that works; `namespace` by name takes the first two.
LEVELS = ("namespace", "bwrap", "process")
#: Where programs of the emulator find an interpreter whose own place is hidden.
PYTHON = "/opt/caged/python"


@dataclass(frozen=True)
class IsolationLevel:
    """One level, ready to be used for any number of sandboxes. `hide`: host directories that no sandbox sees.
    `confine`: False for what the emulator itself does without isolation."""

    level: str
    hide: tuple[str, ...] = ()
    bwrap: str = ""
    confine: bool = True

    @property
    def own_network(self) -> bool:
        """Whether network modes other than `full` can be enforced."""
        return self.level != "process"

    def layout(self, directory: Path) -> Layout:
        return Layout(directory, mounted=self.level != "process")

    def _may_show(self, path: str) -> bool:
        """A toolchain's directory, but never a whole home (the prefix of a ~/bin/node)."""
        return not below(path, "/usr") and not any(below(hidden, path) for hidden in self.hide)

    def ask_dir(self, layout: Layout) -> str:
        """Where init listens for programs inside that ask the emulator."""
        return str(layout.opt) if self.level == "process" else "/run"

    def _shown_as_python(self) -> str:
        """The prefix of the emulator's interpreter, if it has to be shown in another place: its own is hidden, or is
        the sandbox's."""
        prefix = interpreter()[1]
        hidden = is_own(prefix) or any(below(prefix, path) for path in self.hide)
        return prefix if self.level != "process" and hidden and self._may_show(prefix) else ""

    def python(self) -> str:
        """The emulator's interpreter, as programs of its own inside have to call it."""
        program, prefix = interpreter()
        if self._shown_as_python() and below(program, prefix):
            return PYTHON + program[len(prefix) :]
        return program

    def spec(self, sandbox_id: str, layout: Layout, network: str, show: Sequence[str]) -> dict[str, Any]:
        """What the zygote and init need to know. `show`: host directories that must be seen although they may be
        below a hidden one."""
        spec: dict[str, Any] = {
            "id": sandbox_id,
            "isolation": self.level,
            "directory": str(layout.directory),
            "network": network,
            "hide": list(self.hide),
            "show": sorted({path for path in show if self._may_show(path)}, key=len),
            "number": sum(sandbox_id.encode()),
            "python": self._shown_as_python(),
            # Whether root inside is the machine's own, who may change kernel settings.
            "real_root": os.geteuid() == 0,
            "proxy_port": proxy.PORT,
            # Whether the kernel counts processes per sandbox: not for the machine's real root, whatever namespace.
            "counted": self.level != "process" and os.geteuid() != 0,
            # Without namespaces: whether its processes are kept from signalling others, and the users of which the
            # first that exists becomes its own where root cannot be kept from that.
            "confine": self.level == "process" and self.confine,
            "own_users": _own_users(sandbox_id),
        }
        return spec


#: User numbers that nobody is given: above those that systemd and subuid give to containers, and, for a container that
#: has only the first 65536, above those of people and below those of services.
_OWN_USERS = (0x70000000, 0x1000000), (40000, 20000)


def _own_users(sandbox_id: str) -> list[int]:
    """A sandbox's own user, the same each time; a number of each range, best first."""
    number = zlib.crc32(sandbox_id.encode())
    return [first + number % count for first, count in _OWN_USERS]


def isolation_for(level: str, run_dir: Path, key_directories: Sequence[str] = ()) -> IsolationLevel:
    """The isolation of a level, whether they work here or not. `key_directories`: where the emulator writes its
    keys."""
    if level == "process":
        return IsolationLevel(level)
    hide = hidden_directories(run_dir, key_directories)
    return IsolationLevel(level, hide, shutil.which("bwrap") or "" if level == "bwrap" else "")


#: Directories that everything lives in: some service accounts call one of them their home.
_SHARED_TOP = ("", "bin", "boot", "dev", "etc", "lib", "lib32", "lib64", "proc", "run", "sbin", "sys", "usr")

#: Those of them in which nothing at all can be spared.
_PROGRAMS = ("bin", "boot", "lib", "lib32", "lib64", "sbin")


def hidden_directories(run_dir: Path, key_directories: Sequence[str] = ()) -> tuple[str, ...]:
    """The developer's homes, the emulators' files (this one's and, beside them, others'), and where keys are.

    A file with a key is hidden by hiding its directory: what is mounted over a file goes when the file is replaced, and
    nothing can be mounted over one that does not exist yet. Root in a sandbox reads a file of mode 0600.
    """
    homes = {os.path.expanduser("~"), "/home", "/root", str(run_dir.parent), tempfile.gettempdir()}
    try:
        homes.add(pwd.getpwuid(os.geteuid()).pw_dir)
    except KeyError:
        pass
    resolved = {os.path.realpath(path) for path in homes if path}
    hidden = {p for p in resolved if p.split("/")[1] not in _SHARED_TOP and p not in ("/var", "/opt")}
    hidden.update(path for path in key_directories if can_be_hidden(path) and not needs_no_hiding(path))
    return tuple(sorted(path for path in hidden if not any(below(path, other) for other in hidden - {path})))


def needs_no_hiding(directory: str) -> bool:
    """Whether a sandbox has something of its own over a directory, or, of the root and /opt, shows no files."""
    return directory in ("/", "/opt") or is_own(directory)


def can_be_hidden(directory: str) -> bool:
    """Whether a sandbox can do without a directory; not one that holds programs, libraries or settings of all."""
    parts = directory.strip("/").split("/")
    if needs_no_hiding(directory):
        return True
    if parts[0] == "usr":  # /usr/local/share and its like are shared, what is below /usr/bin and /usr/lib is in use
        return len(parts) > 3 and parts[1] in ("local", "share") and parts[2] not in ("bin", "lib", "sbin")
    return parts[0] not in _PROGRAMS and (len(parts) > 1 or parts[0] not in (*_SHARED_TOP, "var"))


def key_directory(path: Path) -> str:
    """The directory to hide so that a file is: its own, or, as long as that does not exist, the one in which the first
    of its parents will be made."""
    directory = os.path.realpath(path.parent)
    while not os.path.isdir(directory):
        directory = os.path.dirname(directory)
    return directory


def below(path: str, directory: str) -> bool:
    """Whether a path is a directory or lies in it."""
    return path == directory or path.startswith(directory.rstrip("/") + "/")


def interpreter() -> tuple[str, str]:
    """(program, prefix) of the Python behind this one, a virtual environment's base: what programs of the
    emulator inside a sandbox run on."""
    program = os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)
    return program, sys.base_prefix


@dataclass(frozen=True)
class ProbeResult:
    """Whether a level works here. `reason` says why (not); `fix` what to do about it, empty when there is nothing
    to be done or to be said. `confined`: signals of a command reach its sandbox alone."""

    level: str
    works: bool
    reason: str
    fix: str = ""
    confined: bool = True


def explain(level: str, error: str) -> ProbeResult:
    """A failed probe in words a user can act on."""
    reason, fix = error, ""
    container = _in_container()
    if level == "bwrap" and not shutil.which("bwrap"):
        return ProbeResult(level, False, "there is no bwrap on this machine", "install bubblewrap")
    if sys.platform != "linux":
        return ProbeResult(level, False, "namespaces are Linux's", "run the emulator on Linux, or use `process`")
    # The words of bwrap, and ours: "clone into new namespaces", "writing /proc/self/uid_map", the first mount.
    making = "new namespace" in error or "uid map" in error or "/proc/self/" in error
    mounting = "mount(b'', b'/')" in error
    if making or mounting:
        if _sysctl("kernel/apparmor_restrict_unprivileged_userns") == "1":
            reason = "AppArmor refuses user namespaces to unprivileged programs"
            fix = "install bubblewrap, or: sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0"
        elif _sysctl("kernel/unprivileged_userns_clone") == "0":
            reason = "user namespaces are off for ordinary users"
            fix = "sudo sysctl kernel.unprivileged_userns_clone=1"
        elif _sysctl("user/max_user_namespaces") == "0":
            reason = "user namespaces are off"
            fix = "sudo sysctl user.max_user_namespaces=15000"
        elif "No space left" in error or "ENOSPC" in error:
            reason = "the limit of namespaces is reached"
            fix = "end some sandboxes, or raise user.max_user_namespaces"
        elif mounting and container:
            reason = "this container may not mount anything (AppArmor)"
            fix = "docker run --security-opt apparmor=unconfined --security-opt systempaths=unconfined …"
        elif container:
            reason = "this container may not create namespaces (seccomp)"
            fix = "docker run --security-opt seccomp=unconfined --security-opt systempaths=unconfined …"
    elif "proc" in error and "not permitted" in error.lower():
        reason = "a /proc of one's own cannot be mounted because parts of this one are masked"
        fix = "docker run --security-opt systempaths=unconfined …" if container else "unmask /proc"
    return ProbeResult(level, False, reason if reason == error else f"{reason} ({error})", fix)


def _sysctl(name: str) -> Optional[str]:
    try:
        return Path("/proc/sys", name).read_text().strip()
    except OSError:
        return None


def _in_container() -> bool:
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return False
    return "Seccomp:\t2" in status or os.path.exists("/.dockerenv") or os.path.exists("/run/.containerenv")
