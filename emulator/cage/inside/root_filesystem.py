"""The root file system of a sandbox at level `namespace`, built by the child that becomes its init.

In both forms a command finds `/workspace`, `/root` and `/tmp` from the sandbox's directory; `/opt/caged`, read-only,
with the emulator's programs; a `/proc`, `/dev` and `/run` of its own; no home directory of the host, apart from the
toolchains that its template needs. Nothing is created on the host, and all mounts end with the last process of the
mount namespace.

- "overlays": the root is a directory of the sandbox, and /etc, /usr and their like are overlays over the host's
  directories. So everything can be written, and what is written is in the sandbox's directory (`paths.py`). What of
  the host is seen is decided outside, by a lower layer that hides the rest (`mask/`).
- "copies", where overlays cannot be mounted: the root is such a directory, too; /etc is a copy, and the rest is the
  host's, read-only (`copies.py`).
"""

from __future__ import annotations

import errno
import os
import stat

from . import libc, limits, network, remount, rights
from .mounts import (
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_PRIVATE,
    MS_RDONLY,
    MS_REC,
    bind,
    make_mount_point,
    mount,
    overlay,
    own_inodes,
    pivot,
    read_only,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Optional

OWN_TOP = ("dev", "home", "proc", "root", "run", "sys", "tmp", "workspace")
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")


def build(spec: dict[str, Any]) -> Optional[remount.Sources]:
    """Build the new root, and move into it. Called by init, which is process 1 of its namespaces.

    Args:
        spec: `id`; `directory`: the sandbox's; `root`: an empty directory to mount on, the same for all sandboxes,
            since each has mounts of its own; `network`; `show`: host directories that must be seen, although nothing
            is there otherwise; `python`: the prefix of the interpreter for the emulator's programs, when it has to be
            shown elsewhere; `limits`, `counted`, `real_root`: see `IsolationLevel.spec`; `root_kind`, and for
            "overlays" `mask`, `overlaid`, `complete`, `own_user` and `layers`: see `_overlays`, else `hide`,
            `programs`, `copied` and `bound`: see `_copies`.

    Returns:
        What it takes to mount the overlays again; None without overlays.

    Raises:
        IsolationError, OSError: A step failed; the text names it.
    """
    sources = None
    directory = spec["directory"]
    root = spec["root"]
    # Private: what the host mounts later must not turn up inside, where it would not be read-only.
    mount("", "/", "", MS_REC | MS_PRIVATE)
    rights.leave_keyring()
    _top(root, spec)
    if spec["root_kind"] == "overlays":
        _overlays(root, spec)
        sources = remount.Sources(root + "/run", spec, _lower_layers(spec, {}))  # covered by `_own_places`
    else:
        _copies(root, spec)
    mount("proc", root + "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    if spec.get("limits"):
        limits.count_by_kernel(spec["limits"]["processes"], spec["counted"], root)
        limits.limit_segments(spec["limits"]["memory_mb"], root)
    if spec["real_root"]:
        _protect_kernel_files(root)
    _own_places(root, spec)
    _devices(root)
    for path in spec["show"]:
        if os.path.isdir(path):
            _bind_read_only(root, path)
    _resolver(root)
    bind(directory + "/opt", root + "/opt/caged", recursive=False)
    if spec["python"]:
        bind(spec["python"], root + "/opt/caged/python", recursive=False)
    read_only(root + "/opt/caged")
    pivot(root)
    libc.call("sethostname", os.fsencode(spec["id"]), len(spec["id"]))
    if spec["network"] != "full":
        network.loopback_up()
    return sources


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


def _top(root: str, spec: dict[str, Any]) -> None:
    """Mount the sandbox's own root, over that of its layers if they have new entries in it."""
    system, lower = spec["directory"] + "/system", spec["layers"].get("top")
    if lower:
        overlay(root, lower, system + "/top", system + "/work/top", spec["own_user"])
    else:
        bind(system + "/top", root, recursive=False)
    own_inodes(root)


def _overlays(root: str, spec: dict[str, Any]) -> None:
    """Mount an overlay over each directory of the host that a sandbox has.

    Args:
        root: Where to mount.
        spec: `directory`: the sandbox's; `mask`: the directory of the emulator's mask, with a directory for each
            overlaid one; `overlaid`: their names; `complete`: those of which the mask has all; `own_user`: whether this
            is in a user namespace; `layers`: lower directories above the mask, by the name of the overlay
            (`layers.mounted_parts`).
    """
    system = spec["directory"] + "/system"
    for name, lower in _lower_layers(spec, spec["layers"]).items():
        upper, work = f"{system}/changed/{name}", f"{system}/work/{name}"
        overlay(f"{root}/{name}", lower, upper, work, spec["own_user"])


def _lower_layers(spec: dict[str, Any], layers: dict[str, list[str]]) -> dict[str, Sequence[str]]:
    """Return the lower directories of each overlay, topmost first, by its name. `layers`: those above the mask."""
    found: dict[str, Sequence[str]] = {}
    for name in spec["overlaid"]:
        lower = [*layers.get(name, ()), f"{spec['mask']}/{name}"]
        if name not in spec["complete"] and os.path.isdir("/" + name):
            lower.append("/" + name)
        found[name] = lower
    return found


def _copies(root: str, spec: dict[str, Any]) -> None:
    """Bind the host's directories, read-only, and the sandbox's own copies over parts of them.

    Args:
        root: Where to mount.
        spec: `directory`: the sandbox's; `programs`: names of top-level directories of the host; `copied`: directories
            that are in the sandbox's own; `bound`: paths of the host in them; `hide`: what must not be seen.
    """
    for name in spec["programs"]:
        bind("/" + name, f"{root}/{name}")
        read_only(f"{root}/{name}")
    for path in spec["copied"]:
        if os.path.isdir(f"{root}/{path}"):
            bind(f"{spec['directory']}/system/changed/{path}", f"{root}/{path}", recursive=False)
            own_inodes(f"{root}/{path}")
    for path in spec["bound"]:
        _bind_read_only(root, path)
    for path in spec["hide"]:
        # What is not below a directory of the host does not exist here.
        if path.split("/")[1] in spec["programs"] and os.path.isdir(root + path) and not os.path.islink(root + path):
            mount("hidden", root + path, "tmpfs", MS_NOSUID | MS_NODEV | MS_RDONLY, "size=64k,mode=755")


def _bind_read_only(root: str, path: str) -> None:
    """Bind a directory or file of the host. Nothing happens where the sandbox has put something of another kind."""
    if os.path.isdir(path):
        if not make_mount_point(root, path):
            return
    elif not make_mount_point(root, os.path.dirname(path)) or not _is_file(root + path):
        return
    try:
        bind(path, root + path)
    except libc.IsolationError as error:
        if libc.errno_of(error) == errno.ENOENT:
            return  # removed meanwhile
        raise
    read_only(root + path)


def _is_file(path: str) -> bool:
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except OSError:
        return False


def _own_places(root: str, spec: dict[str, Any]) -> None:
    directory, network = spec["directory"], spec["network"]
    for name in ("workspace", "root", "tmp"):
        lower = spec["layers"].get(name)
        if lower:
            upper, work = f"{directory}/{name}", f"{directory}/system/work/{name}"
            overlay(f"{root}/{name}", lower, upper, work, spec["own_user"])
        else:
            bind(f"{directory}/{name}", f"{root}/{name}", recursive=False)
    mount("run", root + "/run", "tmpfs", MS_NOSUID | MS_NODEV, "size=16m,mode=755")
    os.mkdir(root + "/run/lock")
    if network == "full":
        bind("/sys", root + "/sys")
        read_only(root + "/sys")
    else:  # a sysfs that shows the sandbox's own network
        mount("sysfs", root + "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY)


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


def _resolver(root: str) -> None:
    """Copy what /etc/resolv.conf leads to when that is in /run, which is the sandbox's own."""
    target = os.path.realpath("/etc/resolv.conf")
    if target.startswith("/run/") and os.path.isfile(target):
        os.makedirs(os.path.dirname(root + target), exist_ok=True)
        with open(target, "rb") as source, open(root + target, "wb") as copy:
            copy.write(source.read())


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
