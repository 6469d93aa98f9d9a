"""The end of a command."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional


@dataclass(frozen=True)
class CommandResult:
    """The end of a command.

    Attributes:
        output: Standard output, and standard error unless it was requested separately.
        code: The exit code; 128+n after signal n, -1 when the command could not be started.
        truncated: Whether there was more output than the limit.
        error: Why the command could not be started; None when it was.
        errors: Standard error, when it was requested separately.
        timed_out: Whether the command was killed because of its time limit.
        signal: The signal that ended it; 0 when it exited by itself.
        times: Seconds since it was started, and the part of `output`, from 0 to 1, that was printed by then.
    """

    output: bytes
    code: int
    truncated: bool
    error: Optional[str] = None
    errors: bytes = b""
    timed_out: bool = False
    signal: int = 0
    times: tuple[tuple[float, float], ...] = ()


def not_started(reason: str) -> CommandResult:
    """The result of a command that could not be started."""
    return CommandResult(b"", -1, False, reason)
