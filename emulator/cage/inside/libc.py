"""System calls that Python has no function for, by the C library."""

from __future__ import annotations

import ctypes
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: As in platform.machine(), without that module: its import is a twelfth of the zygote's start.
MACHINE = os.uname().machine


class IsolationError(Exception):
    """A step of building the isolation failed; the text names it."""


_libc: ctypes.CDLL
#: For a call that returns twice: no other thread may take the lock of the interpreter meanwhile.
holding_the_gil: ctypes.PyDLL


def load() -> None:
    """Load the C library, once in the zygote, so that sandboxes do not pay for it."""
    global _libc, holding_the_gil
    _libc = ctypes.CDLL(None, use_errno=True)
    holding_the_gil = ctypes.PyDLL(None, use_errno=True)
    holding_the_gil.syscall.restype = ctypes.c_long


def call(name: str, *arguments: Any) -> int:
    """Call a function and return its result. Raises IsolationError, caused by an OSError, when that is negative."""
    result: int = getattr(_libc, name)(*arguments)
    if result < 0:
        number = ctypes.get_errno()
        shown = ", ".join(repr(word) for word in arguments if isinstance(word, bytes))
        raise IsolationError(f"{name}({shown}): {os.strerror(number)}") from OSError(number, os.strerror(number))
    return result


def errno_of(error: IsolationError) -> int:
    """Return the error number of a call that failed; 0 when there is none."""
    return error.__cause__.errno or 0 if isinstance(error.__cause__, OSError) else 0
