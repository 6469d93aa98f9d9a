"""Landlock's scopes: processes that can neither signal nor connect to processes outside their sandbox.

It needs Linux 6.12, but neither a namespace nor a right. Only scopes are set: files are not restricted, and mounts
inside the sandbox stay possible.
"""

from __future__ import annotations

import ctypes
import os
import struct

from . import libc

#: The first version of Landlock with scopes.
SCOPES_ABI = 6

_CREATE_RULESET, _RESTRICT_SELF = 444, 446  # the same numbers on every architecture
_CREATE_RULESET_VERSION = 1
_SCOPE_ABSTRACT_UNIX_SOCKET, _SCOPE_SIGNAL = 1, 2


def has_scopes() -> bool:
    """Return whether this kernel can confine signals to a sandbox, and permits it to this process."""
    try:
        return libc.call("syscall", _CREATE_RULESET, None, ctypes.c_size_t(0), _CREATE_RULESET_VERSION) >= SCOPES_ABI
    except libc.IsolationError:
        return False


def confine(sockets: bool) -> bool:
    """Confine the signals of this process, and of all that it starts from now on, to these processes, for good.

    It must have given up new privileges before.

    Args:
        sockets: Whether to confine connections to abstract Unix sockets, too.

    Returns:
        False where the kernel cannot do it; then nothing has changed.
    """
    if not has_scopes():
        return False
    rules = struct.pack("QQQ", 0, 0, _SCOPE_SIGNAL | (_SCOPE_ABSTRACT_UNIX_SOCKET if sockets else 0))
    ruleset = libc.call("syscall", _CREATE_RULESET, rules, ctypes.c_size_t(len(rules)), 0)
    try:
        libc.call("syscall", _RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)
    return True
