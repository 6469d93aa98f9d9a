"""The rights that a sandbox's processes lose, whatever user they are: capabilities, new privileges, keyrings, and a few
system calls."""

from __future__ import annotations

import ctypes
import errno
import os
import struct

from . import filters, landlock, libc

PR_SET_DUMPABLE = 4
PR_SET_SECUREBITS = 28
SECBIT_NO_SETUID_FIXUP = 4
PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
PR_CAP_AMBIENT_CLEAR_ALL = 4
_CAPABILITY_VERSION_3 = 0x20080522

_KEYCTL = {"x86_64": 250, "aarch64": 219, "riscv64": 219, "ppc64le": 271, "s390x": 280}
KEYCTL_JOIN_SESSION_KEYRING = 1

#: Capabilities that commands do not have, even as root, since they would break the isolation or reach the machine
#: behind it. Numbers from linux/capability.h.
_DROPPED_CAPABILITIES = (
    2,  # DAC_READ_SEARCH: open_by_handle_at reaches files outside the root
    9,  # LINUX_IMMUTABLE
    11,  # NET_BROADCAST
    12,  # NET_ADMIN
    13,  # NET_RAW: a packet socket reads the host's traffic in `full`, API keys on loopback included
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
    29,  # AUDIT_WRITE
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


#: Capabilities that remain when root becomes a user of its own (`become_own_user`): access to files, as before, and low
#: ports. Without KILL, SETUID and SYS_PTRACE it reaches only its own processes.
_OWN_USER_CAPABILITIES = (0, 1, 2, 3, 4, 10)  # CHOWN, DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER, FSETID, NET_BIND_SERVICE


def lock() -> None:
    """Take from init's future children the rights that they must not have. Init itself keeps them."""
    for capability in _DROPPED_CAPABILITIES:
        try:
            libc.call("prctl", PR_CAPBSET_DROP, ctypes.c_ulong(capability), 0, 0, 0)
        except libc.IsolationError as error:
            if libc.errno_of(error) != errno.EINVAL:
                raise  # EINVAL: an older kernel does not have it
    _drop_inheritable()
    libc.call("prctl", PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), 0, 0, 0)
    # With network `full`, services of the host listen on abstract sockets. Signals stay in the process table anyway.
    landlock.confine(sockets=True)
    filters.apply()
    # At level `bwrap`, as an ordinary user, init has the same rights as its commands: they must not trace it.
    libc.call("prctl", PR_SET_DUMPABLE, ctypes.c_ulong(0), 0, 0, 0)


def lock_process_level() -> bool:
    """Do the same for a sandbox without namespaces, which keeps its capabilities. Returns whether its signals are
    confined to its own processes."""
    libc.call("prctl", PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), 0, 0, 0)
    try:
        confined = landlock.confine(sockets=False)
    except libc.IsolationError:
        confined = False
    filters.apply()
    return confined


def become_own_user(users: list[int], directory: str) -> None:
    """Change from root to another user with root's access to files, for sandboxes without namespaces where signals
    cannot be confined. Without the right to change the user, nothing happens.

    Args:
        users: User numbers; the first that this machine has is used.
        directory: The sandbox's directory, of which the user becomes the owner.
    """
    # The capabilities survive the change of the user, and access(2) counts them although the user is not root.
    try:
        libc.call("prctl", PR_SET_SECUREBITS, ctypes.c_ulong(SECBIT_NO_SETUID_FIXUP), 0, 0, 0)
    except libc.IsolationError:
        return
    for user in users:
        try:
            os.setresuid(user, user, user)
        except OSError:
            continue  # this container does not have the number
        break
    else:
        return
    os.setresgid(user, user, user)
    os.setgroups([])
    _, permitted, _ = _capabilities()
    kept = sum(1 << capability for capability in _OWN_USER_CAPABILITIES) & permitted
    _set_capabilities(kept, kept, kept)
    for capability in _OWN_USER_CAPABILITIES:
        if kept & 1 << capability:
            libc.call("prctl", PR_CAP_AMBIENT, ctypes.c_ulong(PR_CAP_AMBIENT_RAISE), ctypes.c_ulong(capability), 0, 0)
    for place in ("workspace", "root", "tmp"):
        os.chown(f"{directory}/{place}", user, user)


def _drop_inheritable() -> None:
    """Clear the inheritable and ambient sets, which bwrap passes on, and which the bounding set does not limit."""
    libc.call("prctl", PR_CAP_AMBIENT, ctypes.c_ulong(PR_CAP_AMBIENT_CLEAR_ALL), 0, 0, 0)
    effective, permitted, _ = _capabilities()
    _set_capabilities(effective, permitted, 0)


def _capabilities() -> tuple[int, int, int]:
    """Return the effective, permitted and inheritable set of this process, as numbers."""
    header = struct.pack("Ii", _CAPABILITY_VERSION_3, 0)
    data = ctypes.create_string_buffer(24)
    libc.call("capget", header, data)
    words = struct.unpack("6I", data.raw)
    return words[0] | words[3] << 32, words[1] | words[4] << 32, words[2] | words[5] << 32


def _set_capabilities(*sets: int) -> None:
    """Set the effective, permitted and inheritable set of this process."""
    header = struct.pack("Ii", _CAPABILITY_VERSION_3, 0)
    low, high = [one & 0xFFFFFFFF for one in sets], [one >> 32 for one in sets]
    libc.call("capset", header, struct.pack("6I", *low, *high))


def leave_keyring() -> None:
    """Join a new session keyring, because the developer's may hold keys. Without keyrings nothing happens."""
    number = _KEYCTL.get(libc.MACHINE)
    if number is not None:
        try:
            libc.call("syscall", number, KEYCTL_JOIN_SESSION_KEYRING, None)
        except libc.IsolationError:
            pass
