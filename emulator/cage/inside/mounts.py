"""Mounts: binding, making read-only, and replacing the root."""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct

from . import libc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REMOUNT = 32
MS_BIND = 4096
MS_MOVE = 8192
MS_REC = 16384
MS_PRIVATE = 1 << 18
MNT_DETACH = 2
MOUNT_ATTR_RDONLY = 1
MOUNT_ATTR_NOSUID = 2
MOUNT_ATTR_NODEV = 4
AT_FDCWD = -100
AT_RECURSIVE = 0x8000

_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41, "riscv64": 41, "ppc64le": 203, "s390x": 217}
_MOUNT_SETATTR = 442  # the same number on every architecture


def mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    libc.call(
        "mount",
        os.fsencode(source),
        os.fsencode(target),
        os.fsencode(kind) if kind else None,
        ctypes.c_ulong(flags),
        os.fsencode(data) if data else None,
    )


def bind(source: str, target: str, recursive: bool = True) -> None:
    """Bind a file or directory to a target that exists."""
    mount(source, target, "", MS_BIND | (MS_REC if recursive else 0))


def make_mount_point(root: str, path: str) -> bool:
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


def read_only(target: str, recursive: bool = True) -> None:
    """Make a mount, and with `recursive` those below it, read-only and without setuid."""
    attributes = struct.pack("QQQQ", MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID, 0, 0, 0)
    flags = AT_RECURSIVE if recursive else 0
    try:
        libc.call("syscall", _MOUNT_SETATTR, AT_FDCWD, os.fsencode(target), flags, attributes, len(attributes))
    except libc.IsolationError as error:
        if libc.errno_of(error) != errno.ENOSYS:
            raise
        _remount_each(target, recursive)


def own_inodes(target: str) -> None:
    """Make a mount that a sandbox writes to without setuid and without devices."""
    attributes = struct.pack("QQQQ", MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID, 0, 0, 0)
    try:
        libc.call("syscall", _MOUNT_SETATTR, AT_FDCWD, os.fsencode(target), 0, attributes, len(attributes))
    except libc.IsolationError as error:
        if libc.errno_of(error) != errno.ENOSYS:
            raise
        mount("", target, "", MS_REMOUNT | MS_BIND | MS_NODEV | MS_NOSUID)


def _remount_each(target: str, recursive: bool) -> None:
    """Do the same on kernels before 5.12: each mount by itself, with the flags that it has."""
    locked = {"nosuid": MS_NOSUID, "nodev": MS_NODEV, "noexec": MS_NOEXEC, "noatime": 1024, "relatime": 1 << 21}
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as table:
        mounts = [line.split(" ") for line in table]
    for fields in mounts:
        point = fields[4].encode("ascii", "surrogateescape").decode("unicode_escape")
        if point == target or (recursive and point.startswith(target + "/")):
            flags = MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID
            for option in fields[5].split(","):
                flags |= locked.get(option, 0)
            mount("", point, "", flags)


def overlay(target: str, lower: Sequence[str], upper: str, work: str, own_user: bool) -> None:
    """Mount an overlay on a directory that exists.

    Args:
        target: The directory.
        lower: The lower layers, topmost first.
        upper: The directory that gets what is changed.
        work: An empty directory on the same file system.
        own_user: Whether this is in a user namespace, which may not set the attributes that overlays have otherwise.
    """
    # What is changed is kept in files of the ordinary form, which archives can have, whatever the kernel's defaults:
    # no renamed directories, and no files without their content. `userxattr` excludes both.
    form = "userxattr,index=off,xino=off" if own_user else "index=off,metacopy=off,redirect_dir=off,xino=off"
    options = f"lowerdir={':'.join(lower)},upperdir={upper},workdir={work},{form}"
    mount("overlay", target, "overlay", MS_NOSUID | MS_NODEV, options)
    # The kernel makes this directory without any permission, and leaves it behind: its owner could neither copy nor
    # remove a sandbox's directory. The kernel itself has the right to use it whatever its mode is.
    os.chmod(f"{work}/work", 0o700)


def pivot(root: str) -> None:
    """Make a mount the root of this mount namespace, and detach the old root."""
    number = _PIVOT_ROOT.get(libc.MACHINE)
    if number is None:
        raise libc.IsolationError(f"pivot_root is not known for {libc.MACHINE}")
    os.chdir(root)
    # The old root is mounted on top of the new one and detached at once: no directory for it is needed.
    libc.call("syscall", number, b".", b".")
    libc.call("umount2", b".", MNT_DETACH)
    os.chdir("/")
