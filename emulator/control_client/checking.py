"""Checks of arguments before anything is sent: a wrong type is refused with a sentence, whatever the transport."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Optional, Union


def check_pattern(name: str, pattern: Any) -> None:
    """Check that an argument is a pattern: a str or a compiled regular expression of str."""
    if isinstance(pattern, re.Pattern) and isinstance(pattern.pattern, str):
        return
    if not isinstance(pattern, str):
        raise TypeError(
            f"{name}: must be a str (exact, or a glob with * ? [) or a regular expression compiled from a str,"
            f" not {pattern!r}"
        )


def check_str(name: str, text: Any) -> None:
    if not isinstance(text, str):
        raise TypeError(f"{name}: must be a str, not {text!r}")


def check_text(name: str, text: Any, also: str = "") -> None:
    """Check that an argument is a str or a list of str."""
    allowed = f"must be a str or a list of str{also}"
    if isinstance(text, str):
        return
    if isinstance(text, (bytes, bytearray)) or not isinstance(text, Sequence):
        raise TypeError(f"{name}: {allowed}, not {text!r}")
    for piece in text:
        if not isinstance(piece, str):
            raise TypeError(f"{name}: {allowed}; it contains {piece!r}")


def check_int(name: str, number: Any, least: Optional[int] = None) -> None:
    if isinstance(number, bool) or not isinstance(number, int):
        raise TypeError(f"{name}: must be an int, not {number!r}")
    if least is not None and number < least:
        raise ValueError(f"{name}: must be at least {least}, not {number}")


def check_times(times: Any) -> None:
    """Check the expected count of an assertion."""
    if times is not None:
        check_int("times", times, 0)


def amount(name: str, number: Any) -> float:
    """The argument as a float.

    Raises:
        TypeError: It is not a number.
        ValueError: It is not finite.
    """
    if isinstance(number, bool) or not isinstance(number, (int, float)):
        raise TypeError(f"{name}: must be a number, not {number!r}")
    if not math.isfinite(number):
        raise ValueError(f"{name}: must be a finite number, not {number!r}")
    return float(number)


def duration(name: str, time: Union[float, timedelta, Any]) -> float:
    """The argument in seconds; a number is seconds already.

    Raises:
        TypeError: It is neither a number nor a timedelta.
        ValueError: It is not finite.
    """
    if isinstance(time, timedelta):
        return time.total_seconds()
    try:
        return amount(name, time)
    except TypeError:
        raise TypeError(f"{name}: must be a number of seconds or a timedelta, not {time!r}") from None
