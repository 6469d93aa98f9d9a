"""The root file system of a sandbox at level `namespace`, built by the child that becomes its init.

In both forms a command finds `/workspace`, `/root` and `/tmp` from the sandbox's directory; `/opt/caged`, read-only,
with the emulator's programs; a `/proc`, `/dev` and `/run` of its own; no home directory of the host, apart from the
toolchains that its template needs. Nothing is created on the host, and all mounts end with the last process of the
mount namespace.

- A root of its own: the root is a directory of the sandbox, and /etc, /usr and their like are overlays over the host's
  directories. So everything can be written, and what is written is in the sandbox's directory (`paths.py`). What of
  the host is seen is decided outside, by a lower layer that hides the rest (`mask.py`).
- Otherwise the root is a tmpfs with the host's directories, read-only, and a `/var/tmp` and `/etc/hosts` of its own.
"""

from __future__ import annotations

import os
import stat

from . import libc, limits, network, rights
from .mounts import (
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_PRIVATE,
    MS_RDONLY,
    MS_REC,
    bind,
    bind_anew,
    mount,
    overlay,
    own_inodes,
    pivot,
    read_only,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

OWN_TOP = ("dev", "home", "proc", "root", "run", "sys", "tmp", "workspace")
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
#: Files about the developer or the machine's accounts, which are seen as empty.
SECRET_FILES = ("/etc/shadow", "/etc/shadow-", "/etc/gshadow", "/etc/gshadow-", "/etc/sudoers")
SECRET_DIRS = ("/etc/ssl/private", "/etc/sudoers.d", "/etc/ssh", "/var/spool/cron", "/var/lib/docker")


def build(spec: dict[str, Any]) -> None:
    """Build the new root, and move into it. Called by init, which is process 1 of its namespaces.

    Args:
        spec: `id`; `directory`: the sandbox's; `root`: an empty directory to mount on, the same for all sandboxes,
            since each has mounts of its own; `network`; `hide`: host directories that must not be seen; `show`: those
            that must, although they may be below a hidden one; `python`: the prefix of the interpreter for the
            emulator's programs, when it has to be shown elsewhere; `limits`, `counted`, `real_root`: see
            `IsolationLevel.spec`; `own_root`, and then `mask`, `overlaid` and `layers`: see `_own_root`, else
            `hosts`, `hosts_target`: see `_hosts`.

    Raises:
        IsolationError, OSError: A step failed; the text names it.
    """
    directory = spec["directory"]
    root = spec["root"]
    # Private: what the host mounts later must not turn up inside, where it would not be read-only.
    mount("", "/", "", MS_REC | MS_PRIVATE)
    rights.leave_keyring()
    if spec["own_root"]:
        _own_root(root, spec)
    else:
        mount("caged", root, "tmpfs", MS_NOSUID | MS_NODEV, "size=1m,mode=755")
        _host_top(root)
    mount("proc", root + "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    if spec.get("limits"):
        limits.count_by_kernel(spec["limits"]["processes"], spec["counted"], root)
        limits.limit_segments(spec["limits"]["memory_mb"], root)
    if spec["real_root"]:
        _protect_kernel_files(root)
    _own_places(root, spec)
    _devices(root)
    if spec["own_root"]:
        _show_in_own_root(root, spec["show"])
    else:
        _var_tmp(root)
        _hide_directories(root, spec["hide"])
        _show_directories(root, spec["show"])
        _secrets(root)
        _hosts(root, spec["hosts"], spec["hosts_target"])
    _resolver(root)
    bind(directory + "/opt", root + "/opt/caged", recursive=False)
    if spec["python"]:
        bind(spec["python"], root + "/opt/caged/python", recursive=False)
    read_only(root + "/opt/caged")
    pivot(root)
    libc.call("sethostname", os.fsencode(spec["id"]), len(spec["id"]))
    if spec["network"] != "full":
        network.loopback_up()


def protect_host_inodes(real_root: bool) -> None:
    """Make the devices read-only, and for the machine's real root the kernel's files, in a root that bwrap has
    built."""
    for name in _DEVICES:
        read_only(f"/dev/{name}", recursive=False)
    if real_root:
        for name in _kernel_files("/proc"):
            bind(f"/proc/{name}", f"/proc/{name}", recursive=False)
            read_only(f"/proc/{name}", recursive=False)


def is_own(path: str) -> bool:
    """Whether the sandbox has something of its own in place of this path of the host."""
    return path.split("/")[1] in OWN_TOP or path == "/var/tmp"


def _host_top(root: str) -> None:
    """Bind the host's top-level directories, copy its links, and make empty directories for what is the sandbox's own.
    Files are left out, because one may hold keys. /opt consists of its entries, since /opt/caged is the sandbox's. Then
    all of it becomes read-only, in one step."""
    for name in OWN_TOP:
        os.mkdir(f"{root}/{name}")
    os.makedirs(root + "/opt/caged")
    for name in os.listdir("/"):
        if name in OWN_TOP:
            continue
        if name == "opt":
            for child in os.listdir("/opt"):
                if child != "caged":
                    bind_anew("/opt/" + child, root + "/opt/" + child)
            continue
        bind_anew("/" + name, root + "/" + name)
    read_only(root)


def _own_root(root: str, spec: dict[str, Any]) -> None:
    """Bind the sandbox's own root, and mount an overlay over each directory of the host that it has.

    Args:
        root: Where to mount.
        spec: `directory`: the sandbox's; `mask`: the directory of the emulator's mask, with a directory for each
            overlaid one; `overlaid`: their names; `layers`: lower directories above the mask, by the name of the
            overlay (`layers.mounted_parts`).
    """
    system, layers = spec["directory"] + "/system", spec["layers"]
    if layers.get("top"):
        overlay(root, layers["top"], system + "/top", system + "/work/top")
    else:
        bind(system + "/top", root, recursive=False)
    own_inodes(root)
    for name in spec["overlaid"]:
        lower = [*layers.get(name, ()), f"{spec['mask']}/{name}"]
        if os.path.isdir("/" + name):
            lower.append("/" + name)
        overlay(f"{root}/{name}", lower, f"{system}/changed/{name}", f"{system}/work/{name}")


def _show_in_own_root(root: str, paths: list[str]) -> None:
    """Bind directories of the host, read-only, where nothing of the host is seen."""
    for path in paths:
        if os.path.isdir(path) and _make_mount_point(root, path):
            bind(path, root + path)
            read_only(root + path)


def _make_mount_point(root: str, path: str) -> bool:
    """Make a directory and its parents. Returns False when there is something else: the sandbox may have put a link
    there, which must not be followed, since it leads to the host's files before the new root is in place."""
    target = root
    for name in path.strip("/").split("/"):
        target += "/" + name
        try:
            os.mkdir(target)
        except FileExistsError:
            if not stat.S_ISDIR(os.lstat(target).st_mode):
                return False
    return True


def _own_places(root: str, spec: dict[str, Any]) -> None:
    directory, network = spec["directory"], spec["network"]
    for name in ("workspace", "root", "tmp"):
        lower = spec["layers"].get(name) if spec["own_root"] else None
        if lower:
            overlay(f"{root}/{name}", lower, f"{directory}/{name}", f"{directory}/system/work/{name}")
        else:
            bind(f"{directory}/{name}", f"{root}/{name}", recursive=False)
    mount("run", root + "/run", "tmpfs", MS_NOSUID | MS_NODEV, "size=16m,mode=755")
    os.mkdir(root + "/run/lock")
    if network == "full":
        bind("/sys", root + "/sys")
        read_only(root + "/sys")
    else:  # a sysfs that shows the sandbox's own network
        mount("sysfs", root + "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY)


def _var_tmp(root: str) -> None:
    if os.path.isdir(root + "/var/tmp"):
        mount("vartmp", root + "/var/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "size=64m,mode=1777")


def _devices(root: str) -> None:
    dev = root + "/dev"
    mount("dev", dev, "tmpfs", MS_NOSUID, "size=64k,mode=755")
    for name in _DEVICES:
        os.close(os.open(f"{dev}/{name}", os.O_CREAT | os.O_WRONLY, 0o666))
        bind(f"/dev/{name}", f"{dev}/{name}", recursive=False)
        # The inode is read-only, not the device: mode, owner and times cannot be changed, reading and writing works.
        read_only(f"{dev}/{name}", recursive=False)
    for name in ("pts", "shm"):
        os.mkdir(f"{dev}/{name}")
    mount("devpts", dev + "/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620")
    mount("shm", dev + "/shm", "tmpfs", MS_NOSUID | MS_NODEV, "size=64m,mode=1777")
    for name, target in (
        ("ptmx", "pts/ptmx"),
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ):
        os.symlink(target, f"{dev}/{name}")


def _hide_directories(root: str, paths: list[str]) -> None:
    """Mount an empty directory over each path that exists in the new root and is not the sandbox's own."""
    for path in paths:
        if os.path.isdir(root + path) and not os.path.islink(root + path) and not is_own(path):
            mount("hidden", root + path, "tmpfs", MS_NOSUID | MS_NODEV, "size=64k,mode=755")


def _show_directories(root: str, paths: list[str]) -> None:
    in_home = any(path.startswith("/home/") for path in paths)
    if in_home:  # the new root is read-only by now, and nothing is mounted on /home
        mount("home", root + "/home", "tmpfs", MS_NOSUID | MS_NODEV, "size=64k,mode=755")
    for path in paths:
        if not os.path.isdir(path):
            continue
        target = root + path
        if os.path.isdir(target) and os.path.samefile(target, path):
            continue  # it can be seen without
        os.makedirs(target, exist_ok=True)
        bind(path, target)
        read_only(target)
    if in_home:
        read_only(root + "/home", recursive=False)


def _secrets(root: str) -> None:
    for path in SECRET_FILES:
        if os.path.isfile(root + path):
            bind(root + "/dev/null", root + path, recursive=False)
    for path in SECRET_DIRS:
        if os.path.isdir(root + path):
            mount("hidden", root + path, "tmpfs", MS_NOSUID | MS_NODEV | MS_RDONLY, "size=64k,mode=755")


def _resolver(root: str) -> None:
    """Copy what /etc/resolv.conf leads to when that is in /run, which is the sandbox's own."""
    target = os.path.realpath("/etc/resolv.conf")
    if target.startswith("/run/") and os.path.isfile(target):
        os.makedirs(os.path.dirname(root + target), exist_ok=True)
        with open(target, "rb") as source, open(root + target, "wb") as copy:
            copy.write(source.read())


def _hosts(root: str, source: str, target: str) -> None:
    """Mount a file with the sandbox's host name over /etc/hosts, if the new root has that file."""
    if source and os.path.isfile(root + target):
        bind(source, root + target, recursive=False)
        read_only(root + target, recursive=False)


def _protect_kernel_files(root: str) -> None:
    """Bind everything in /proc that is not about a process over itself, read-only. The machine's real root may write
    there without any capability, and a changed mode or owner is seen in every other /proc, too. (For an ordinary user
    they stay as they are: to allow namespaces inside the sandbox, the kernel requires a /proc without mounts on it.)"""
    proc, copy = root + "/proc", root + "/tmp"  # over which the sandbox's own is mounted later
    bind(proc, copy, recursive=False)
    read_only(copy, recursive=False)
    for name in _kernel_files(proc):
        bind(f"{copy}/{name}", f"{proc}/{name}", recursive=False)


def _kernel_files(proc: str) -> list[str]:
    with os.scandir(proc) as entries:
        return [entry.name for entry in entries if not entry.name.isdigit() and not entry.is_symlink()]
