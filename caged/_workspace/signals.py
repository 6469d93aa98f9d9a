"""Signals by name and number, those of Linux: the sandbox's, wherever the client runs."""

from __future__ import annotations

from typing import Any

from .._errors import CagedError
from .._naming import did_you_mean

# In the order of their numbers, from 1.
_NAMES = (
    *(
        "HUP",
        "INT",
        "QUIT",
        "ILL",
        "TRAP",
        "ABRT",
        "BUS",
        "FPE",
        "KILL",
        "USR1",
        "SEGV",
        "USR2",
        "PIPE",
        "ALRM",
        "TERM",
    ),
    *("STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO"),
    *("PWR", "SYS"),
)
_LAST = 64


def signal_number(signal: Any) -> int:
    """The number of a signal.

    Args:
        signal: A name, with or without ``SIG``, or a number.

    Raises:
        CagedError: Linux has no such signal.
    """
    if isinstance(signal, int) and not isinstance(signal, bool):
        if 1 <= signal <= _LAST:
            return int(signal)
        raise CagedError(f"signal must be 1 to {_LAST}, not {int(signal)}")
    if not isinstance(signal, str):
        raise CagedError(f"signal must be a name such as 'TERM' or a number, not {type(signal).__name__}")
    name = signal.upper()
    name = name[3:] if name.startswith("SIG") else name
    if name not in _NAMES:
        raise CagedError(f"signal {signal!r} is unknown{did_you_mean(name, _NAMES)}")
    return _NAMES.index(name) + 1
