"""Landlock's scopes: processes that cannot signal, nor connect to, what is outside of their sandbox.

It needs no namespace and no right, but Linux 6.12. Scopes alone are set: no file is restricted, and mounts inside of
the sandbox stay possible.
"""

from __future__ import annotations

import ctypes
import os
import struct

from . import libc

#: The first version that knows scopes.
SCOPES_ABI = 6

_CREATE_RULESET, _RESTRICT_SELF = 444, 446  # the same numbers on every architecture
_CREATE_RULESET_VERSION = 1
_SCOPE_ABSTRACT_UNIX_SOCKET, _SCOPE_SIGNAL = 1, 2


def knows_scopes() -> bool:
    """Whether this kernel can confine signals to a sandbox, and lets this process do so."""
    try:
        return libc.call("syscall", _CREATE_RULESET, None, ctypes.c_size_t(0), _CREATE_RULESET_VERSION) >= SCOPES_ABI
    except libc.IsolationError:
        return False


def confine(sockets: bool) -> bool:
    """This process and all that it starts from now on signal only each other, for good, and with `sockets` connect to
    no other's abstract Unix socket. It must have given up new privileges before. False where the kernel cannot do it;
    then nothing has happened."""
    if not knows_scopes():
        return False
    rules = struct.pack("QQQ", 0, 0, _SCOPE_SIGNAL | (_SCOPE_ABSTRACT_UNIX_SOCKET if sockets else 0))
    ruleset = libc.call("syscall", _CREATE_RULESET, rules, ctypes.c_size_t(len(rules)), 0)
    try:
        libc.call("syscall", _RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)
    return True
