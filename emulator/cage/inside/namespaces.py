"""Forking a child into namespaces of its own, and becoming root in a user namespace."""

from __future__ import annotations

import ctypes
import errno
import os
import signal

from . import libc

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

_CLONE = {"x86_64": 56, "aarch64": 220, "riscv64": 220, "ppc64le": 120, "s390x": 120}


def flags_for(network: str) -> int:
    """Return the clone flags of a sandbox's namespaces, apart from the user namespace."""
    flags = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID
    return flags if network == "full" else flags | CLONE_NEWNET


def fork_into_namespaces(network: str) -> tuple[int, bool]:
    """Fork, with the child as process 1 of new namespaces.

    In one step, because a process that unshares its process table stays in the old one, and would have to fork again.

    Args:
        network: "full" for the host's network; otherwise the child gets a network namespace.

    Returns:
        The process number, 0 in the child; and whether there is a user namespace, in which the child must call
        `become_root` first.

    Raises:
        IsolationError: The kernel refuses.
    """
    flags = flags_for(network)
    if os.geteuid() != 0:
        return _clone(flags | CLONE_NEWUSER), True
    try:
        return _clone(flags), False
    except libc.IsolationError as error:
        if libc.errno_of(error) != errno.EPERM:
            raise
        return _clone(flags | CLONE_NEWUSER), True  # a root without rights, as in a container


def _clone(flags: int) -> int:
    """Fork by clone(2) without a stack, and do for the interpreter what os.fork does."""
    number = _CLONE.get(libc.MACHINE)
    if number is None:
        raise libc.IsolationError(f"clone is not known for {libc.MACHINE}")
    first = [0, flags | signal.SIGCHLD] if libc.MACHINE == "s390x" else [flags | signal.SIGCHLD, 0]
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
        raise libc.IsolationError(f"clone into new namespaces: {text}") from OSError(number, text)
    return pid


def become_root(uid: int, gid: int) -> None:
    """Map root of a new user namespace to the emulator's user, who has these numbers outside. Raises IsolationError."""
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"0 {uid} 1")
    _write("/proc/self/gid_map", f"0 {gid} 1")


def _write(path: str, text: str) -> None:
    try:
        with open(path, "w") as file:
            file.write(text)
    except OSError as error:
        raise libc.IsolationError(f"writing {path}: {error.strerror}") from error
