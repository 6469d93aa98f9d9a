"""Checks of what a caller passes in. Each refuses with a `CagedError` that names the argument.

Values are never quoted in the messages: some of them are secrets.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Optional
from urllib.parse import quote

from ._constants import LONGEST_TIMEOUT
from ._errors import CagedError


def segment(name: str, value: Any) -> str:
    """An id as one path segment: percent-encoded, nothing safe but letters, digits and ``_.-~``."""
    value = text(name, value)
    if not value:
        raise CagedError(f"{name} is empty; pass the id that the API gave")
    if value in {".", ".."}:
        raise CagedError(f"{name} cannot be {value!r}: it would name another path of the API")
    return quote(value, safe="")


def text(name: str, value: Any) -> str:
    """A string that can be sent as UTF-8; may be empty."""
    if not isinstance(value, str):
        hint = ""
        if isinstance(value, (bytes, bytearray)):
            hint = "; the API takes text only, decode it first"
        elif name.endswith("_id") and isinstance(getattr(value, "id", None), str):
            hint = "; pass its .id"
        raise CagedError(f"{name} must be a str, not {type(value).__name__}{hint}")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise CagedError(f"{name} holds a lone surrogate and cannot be sent as UTF-8") from None
    return value


def optional_text(name: str, value: Any) -> Optional[str]:
    return None if value is None else text(name, value)


def integer(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise CagedError(f"{name} must be an int, not {type(value).__name__}")
    return int(value)


def optional_integer(name: str, value: Any) -> Optional[int]:
    return None if value is None else integer(name, value)


def boolean(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise CagedError(f"{name} must be True or False, not {type(value).__name__}")
    return value


def number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise CagedError(f"{name} must be a number, not {type(value).__name__}")
    if isinstance(value, float) and not math.isfinite(value):
        raise CagedError(f"{name} must be a finite number")
    return float(value) if isinstance(value, float) else int(value)


def seconds(name: str, value: Any) -> Optional[float]:
    """A duration above 0, or None for no limit."""
    if value is None:
        return None
    amount = number(name, value)
    if not 0 < amount <= LONGEST_TIMEOUT:
        longest = f"{LONGEST_TIMEOUT:.0f} seconds"
        raise CagedError(f"{name} must be above 0 and at most {longest}; None means no limit")
    return amount


def texts(name: str, value: Any) -> list[str]:
    """A list or tuple of strings; a bare string is refused, it would be taken for its letters."""
    if not isinstance(value, (list, tuple)):
        raise CagedError(f"{name} must be a list of str, not {type(value).__name__}")
    return [text(f"{name}[{index}]", item) for index, item in enumerate(value)]


def text_mapping(name: str, value: Any) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise CagedError(f"{name} must be a dict of str to str, not {type(value).__name__}")
    return {text(f"a key of {name}", key): text(f"{name}[{key!r}]", item) for key, item in value.items()}
