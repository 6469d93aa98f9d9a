"""Real walls: namespaces of its own and a new root, built by the child that becomes a sandbox's init.

What a command finds inside: the host's directories read-only; `/workspace`, `/root` and `/tmp` writable, from
the sandbox's directory; `/opt/caged` with the emulator's programs; a `/proc`, `/dev`, `/run` and `/var/tmp` of
its own; no home directory of the host, apart from the toolchains that were asked for. Everything hangs under a
tmpfs, so nothing is ever created on the host, and it all goes with the last process of the mount namespace.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import platform
import signal
import socket
import stat
import struct

from . import limits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REMOUNT = 32
MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18
MNT_DETACH = 2
MOUNT_ATTR_RDONLY = 1
MOUNT_ATTR_NOSUID = 2
AT_FDCWD = -100
AT_RECURSIVE = 0x8000
PR_SET_DUMPABLE = 4
PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4
_CAPABILITY_VERSION_3 = 0x20080522

_CLONE = {"x86_64": 56, "aarch64": 220, "riscv64": 220, "ppc64le": 120, "s390x": 120}
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41, "riscv64": 41, "ppc64le": 203, "s390x": 217}
_KEYCTL = {"x86_64": 250, "aarch64": 219, "riscv64": 219, "ppc64le": 271, "s390x": 280}
KEYCTL_JOIN_SESSION_KEYRING = 1
_MOUNT_SETATTR = 442  # the same number on every architecture

#: What commands of a sandbox may not do, even as root: everything that would take the walls down or reach the
#: machine behind them. Numbers from linux/capability.h.
_DROPPED_CAPABILITIES = (
    2,  # DAC_READ_SEARCH: open_by_handle_at reaches files outside the root
    9,  # LINUX_IMMUTABLE
    11,  # NET_BROADCAST
    12,  # NET_ADMIN
    14,  # IPC_LOCK
    16,  # SYS_MODULE
    17,  # SYS_RAWIO
    19,  # SYS_PTRACE
    20,  # SYS_PACCT
    21,  # SYS_ADMIN
    22,  # SYS_BOOT
    23,  # SYS_NICE
    24,  # SYS_RESOURCE
    25,  # SYS_TIME
    26,  # SYS_TTY_CONFIG
    27,  # MKNOD
    28,  # LEASE
    30,  # AUDIT_CONTROL
    32,  # MAC_OVERRIDE
    33,  # MAC_ADMIN
    34,  # SYSLOG
    35,  # WAKE_ALARM
    36,  # BLOCK_SUSPEND
    37,  # AUDIT_READ
    38,  # PERFMON
    39,  # BPF
    40,  # CHECKPOINT_RESTORE
)

OWN_TOP = ("dev", "home", "proc", "root", "run", "sys", "tmp", "workspace")
KERNEL_SETTINGS = ("/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus", "/proc/fs")
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
#: Files that tell about the developer or the machine's accounts: an empty file stands in their place.
SECRET_FILES = ("/etc/shadow", "/etc/shadow-", "/etc/gshadow", "/etc/gshadow-", "/etc/sudoers")
SECRET_DIRS = ("/etc/ssl/private", "/etc/sudoers.d", "/etc/ssh", "/var/spool/cron", "/var/lib/docker")


class WallsError(Exception):
    """A step of the building failed; the text names it."""


class _Libc:
    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        #: For a call that comes back twice: nobody may take the lock of the interpreter meanwhile.
        self.holding_the_gil = ctypes.PyDLL(None, use_errno=True)
        self.holding_the_gil.syscall.restype = ctypes.c_long

    def call(self, name: str, *arguments: Any) -> int:
        result: int = getattr(self._libc, name)(*arguments)
        if result < 0:
            number = ctypes.get_errno()
            shown = ", ".join(repr(word) for word in arguments if isinstance(word, bytes))
            raise WallsError(f"{name}({shown}): {os.strerror(number)}") from OSError(number, os.strerror(number))
        return result

    def mount(self, source: str, target: str, kind: str, flags: int, data: str = "") -> None:
        self.call(
            "mount",
            os.fsencode(source),
            os.fsencode(target),
            os.fsencode(kind) if kind else None,
            ctypes.c_ulong(flags),
            os.fsencode(data) if data else None,
        )

    def bind(self, source: str, target: str, recursive: bool = True) -> None:
        self.mount(source, target, "", MS_BIND | (MS_REC if recursive else 0))


libc: _Libc


def load() -> None:
    """Loads the C library; done once in the zygote, so that no sandbox pays for it."""
    global libc
    libc = _Libc()


def flags_for(network: str) -> int:
    """The namespaces that a sandbox gets, apart from the user namespace."""
    flags = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID
    return flags if network == "full" else flags | CLONE_NEWNET


def fork_into_namespaces(network: str) -> tuple[int, bool]:
    """Like os.fork, with the child as process 1 of new namespaces. In one step, because a process that unshares its
    process table stays in the old one itself, and would have to fork again. Returns (pid or 0, whether there is a
    user namespace, where the child must `become_root` first)."""
    flags = flags_for(network)
    if os.geteuid() != 0:
        return _clone(flags | CLONE_NEWUSER), True
    try:
        return _clone(flags), False
    except WallsError as error:
        if _errno(error) != errno.EPERM:
            raise
        return _clone(flags | CLONE_NEWUSER), True  # a root without rights, as in a container


def _clone(flags: int) -> int:
    """clone(2) without a stack of its own is a fork. Python is told what os.fork would tell it."""
    number = _CLONE.get(platform.machine())
    if number is None:
        raise WallsError(f"clone is not known for {platform.machine()}")
    first = [0, flags | signal.SIGCHLD] if platform.machine() == "s390x" else [flags | signal.SIGCHLD, 0]
    arguments = [ctypes.c_ulong(word) for word in (number, *first, 0, 0, 0)]
    ctypes.pythonapi.PyOS_BeforeFork()
    pid = int(libc.holding_the_gil.syscall(*arguments))
    if pid == 0:
        ctypes.pythonapi.PyOS_AfterFork_Child()
        return 0
    number = ctypes.get_errno()
    ctypes.pythonapi.PyOS_AfterFork_Parent()
    if pid < 0:
        text = os.strerror(number)
        raise WallsError(f"clone into new namespaces: {text}") from OSError(number, text)
    return pid


def become_root(uid: int, gid: int) -> None:
    """In a new user namespace: root there is the emulator's user, by these numbers outside."""
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"0 {uid} 1")
    _write("/proc/self/gid_map", f"0 {gid} 1")


def _errno(error: WallsError) -> int:
    return error.__cause__.errno or 0 if isinstance(error.__cause__, OSError) else 0


def _write(path: str, text: str) -> None:
    try:
        with open(path, "w") as file:
            file.write(text)
    except OSError as error:
        raise WallsError(f"writing {path}: {error.strerror}") from error


def build(spec: dict[str, Any]) -> None:
    """The second half, in init, process 1 of its namespaces. Afterwards the new root is all there is.

    `spec`: id, directory (the sandbox's), root (an empty directory, the same for all: nobody else sees what is mounted
    there), network, hide (host directories that must not be seen), show (host
    directories that must, though they are below a hidden one).
    """
    directory = spec["directory"]
    root = spec["root"]
    # Private: what the host mounts later must not turn up inside, where it would not be read-only.
    libc.mount("", "/", "", MS_REC | MS_PRIVATE)
    leave_keyring()
    libc.mount("caged", root, "tmpfs", MS_NOSUID | MS_NODEV, "size=1m,mode=755")
    _host_top(root)
    _own_places(root, directory, spec["network"])
    _devices(root)
    _hidden(root, spec["hide"])
    _shown(root, spec["show"])
    _secrets(root)
    _resolver(root)
    libc.bind(directory + "/opt", root + "/opt/caged", recursive=False)
    _read_only(root + "/opt/caged", recursive=False)
    libc.mount("proc", root + "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    if spec.get("limits"):
        limits.count_by_kernel(spec["limits"]["processes"], spec["counted"], root)
    if spec["real_root"]:
        _kernel_settings(root)
    _pivot(root)
    libc.call("sethostname", os.fsencode(spec["id"]), len(spec["id"]))
    if spec["network"] != "full":
        loopback_up()


def lock() -> None:
    """Takes from init's future children what they do not need. Init itself keeps it."""
    for capability in _DROPPED_CAPABILITIES:
        try:
            libc.call("prctl", PR_CAPBSET_DROP, ctypes.c_ulong(capability), 0, 0, 0)
        except WallsError as error:
            if _errno(error) != errno.EINVAL:
                raise  # EINVAL: an older kernel does not know it
    _drop_inheritable()
    libc.call("prctl", PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), 0, 0, 0)
    # Behind an ordinary user's bwrap init has no more rights than its commands: they must not trace it.
    libc.call("prctl", PR_SET_DUMPABLE, ctypes.c_ulong(0), 0, 0, 0)


def _drop_inheritable() -> None:
    """What bwrap hands on as inheritable and ambient would pass by the bounding set."""
    libc.call("prctl", PR_CAP_AMBIENT, ctypes.c_ulong(PR_CAP_AMBIENT_CLEAR_ALL), 0, 0, 0)
    header = struct.pack("Ii", _CAPABILITY_VERSION_3, 0)
    data = ctypes.create_string_buffer(24)
    libc.call("capget", header, data)
    effective0, permitted0, _, effective1, permitted1, _ = struct.unpack("6I", data.raw)
    libc.call("capset", header, struct.pack("6I", effective0, permitted0, 0, effective1, permitted1, 0))


def _host_top(root: str) -> None:
    """The host's top-level entries: links as links, the rest bound; /opt is made of its entries, since /opt/caged is
    ours. And empty directories for what is the sandbox's own. Then all of it is read-only, in one step."""
    for name in OWN_TOP:
        os.mkdir(f"{root}/{name}")
    os.makedirs(root + "/opt/caged")
    for name in os.listdir("/"):
        if name in OWN_TOP:
            continue
        if name == "opt":
            for child in os.listdir("/opt"):
                if child != "caged":
                    _bind("/opt/" + child, root + "/opt/" + child)
            continue
        _bind("/" + name, root + "/" + name)
    _read_only(root)


def _bind(source: str, target: str) -> None:
    try:
        mode = os.lstat(source).st_mode
        if stat.S_ISLNK(mode):
            os.symlink(os.readlink(source), target)
            return
        if stat.S_ISDIR(mode):
            os.mkdir(target)
        elif stat.S_ISREG(mode):
            os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))
        else:
            return
    except FileNotFoundError:
        return  # gone since it was listed
    libc.bind(source, target)


def _read_only(target: str, recursive: bool = True) -> None:
    attributes = struct.pack("QQQQ", MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID, 0, 0, 0)
    flags = AT_RECURSIVE if recursive else 0
    try:
        libc.call("syscall", _MOUNT_SETATTR, AT_FDCWD, os.fsencode(target), flags, attributes, len(attributes))
    except WallsError as error:
        if _errno(error) != errno.ENOSYS:
            raise
        _remount_each(target, recursive)


def _remount_each(target: str, recursive: bool) -> None:
    """The same on kernels before 5.12: every mount below `target`, one by one, with the flags it has."""
    locked = {"nosuid": MS_NOSUID, "nodev": MS_NODEV, "noexec": MS_NOEXEC, "noatime": 1024, "relatime": 1 << 21}
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as table:
        mounts = [line.split(" ") for line in table]
    for fields in mounts:
        point = fields[4].encode("ascii", "surrogateescape").decode("unicode_escape")
        if point == target or (recursive and point.startswith(target + "/")):
            flags = MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID
            for option in fields[5].split(","):
                flags |= locked.get(option, 0)
            libc.mount("", point, "", flags)


def _own_places(root: str, directory: str, network: str) -> None:
    for name in ("workspace", "root", "tmp"):
        libc.bind(f"{directory}/{name}", f"{root}/{name}", recursive=False)
    libc.mount("run", root + "/run", "tmpfs", MS_NOSUID | MS_NODEV, "size=16m,mode=755")
    os.mkdir(root + "/run/lock")
    if os.path.isdir(root + "/var/tmp"):
        libc.mount("vartmp", root + "/var/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "size=64m,mode=1777")
    if network == "full":
        libc.bind("/sys", root + "/sys")
        _read_only(root + "/sys")
    else:  # one that shows the sandbox's own network
        libc.mount("sysfs", root + "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY)


def _devices(root: str) -> None:
    dev = root + "/dev"
    libc.mount("dev", dev, "tmpfs", MS_NOSUID, "size=64k,mode=755")
    for name in _DEVICES:
        os.close(os.open(f"{dev}/{name}", os.O_CREAT | os.O_WRONLY, 0o666))
        libc.bind(f"/dev/{name}", f"{dev}/{name}", recursive=False)
    for name in ("pts", "shm"):
        os.mkdir(f"{dev}/{name}")
    libc.mount("devpts", dev + "/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620")
    libc.mount("shm", dev + "/shm", "tmpfs", MS_NOSUID | MS_NODEV, "size=64m,mode=1777")
    for name, target in (
        ("ptmx", "pts/ptmx"),
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ):
        os.symlink(target, f"{dev}/{name}")


def _hidden(root: str, paths: list[str]) -> None:
    """An empty directory over each; those that are not in the new root, or are the sandbox's own, need none."""
    for path in paths:
        own = path.split("/")[1] in OWN_TOP or path == "/var/tmp"
        if os.path.isdir(root + path) and not os.path.islink(root + path) and not own:
            libc.mount("hidden", root + path, "tmpfs", MS_NOSUID | MS_NODEV, "size=64k,mode=755")


def _shown(root: str, paths: list[str]) -> None:
    in_home = any(path.startswith("/home/") for path in paths)
    if in_home:  # the new root is read-only by now, and this place has nothing of its own over it
        libc.mount("home", root + "/home", "tmpfs", MS_NOSUID | MS_NODEV, "size=64k,mode=755")
    for path in paths:
        if not os.path.isdir(path):
            continue
        target = root + path
        if os.path.isdir(target) and os.path.samefile(target, path):
            continue  # it can be seen already
        os.makedirs(target, exist_ok=True)
        libc.bind(path, target)
        _read_only(target)
    if in_home:
        _read_only(root + "/home", recursive=False)


def _secrets(root: str) -> None:
    for path in SECRET_FILES:
        if os.path.isfile(root + path):
            libc.bind(root + "/dev/null", root + path, recursive=False)
    for path in SECRET_DIRS:
        if os.path.isdir(root + path):
            libc.mount("hidden", root + path, "tmpfs", MS_NOSUID | MS_NODEV | MS_RDONLY, "size=64k,mode=755")


def _resolver(root: str) -> None:
    """/etc/resolv.conf is often a link into /run, which is not the host's any more."""
    target = os.path.realpath("/etc/resolv.conf")
    if target.startswith("/run/") and os.path.isfile(target):
        os.makedirs(os.path.dirname(root + target), exist_ok=True)
        with open(target, "rb") as source, open(root + target, "wb") as copy:
            copy.write(source.read())


def _kernel_settings(root: str) -> None:
    """The machine's real root may write them without any capability. (For an ordinary user they stay as they are,
    which leaves room for namespaces inside of the sandbox: the kernel wants to see a whole /proc there.)"""
    for path in KERNEL_SETTINGS:
        if os.path.exists(root + path):
            libc.bind(root + path, root + path)
            _read_only(root + path)


def _pivot(root: str) -> None:
    number = _PIVOT_ROOT.get(platform.machine())
    if number is None:
        raise WallsError(f"pivot_root is not known for {platform.machine()}")
    os.chdir(root)
    # The old root lands on top of the new one and is let go at once: no directory for it is needed.
    libc.call("syscall", number, b".", b".")
    libc.call("umount2", b".", MNT_DETACH)
    os.chdir("/")


def leave_keyring() -> None:
    """Joins a new session keyring: the developer's may hold keys. Without one, or without keyrings, nothing happens."""
    number = _KEYCTL.get(platform.machine())
    if number is not None:
        try:
            libc.call("syscall", number, KEYCTL_JOIN_SESSION_KEYRING, None)
        except WallsError:
            pass


def loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        up = struct.pack("16sH14s", b"lo", 1 | 64, b"")  # IFF_UP | IFF_RUNNING
        fcntl.ioctl(sock, 0x8914, up)  # SIOCSIFFLAGS
