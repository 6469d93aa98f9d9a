"""Checks of arguments. Each raises a `CagedError` that names the argument.

Values are never quoted in the messages: some of them are secrets.
"""

from __future__ import annotations

import inspect
import math
import os
from collections.abc import Iterable, Mapping
from functools import wraps
from typing import Any, Callable, Optional, TypeVar, cast
from urllib.parse import quote

from ._constants import LONGEST_TIMEOUT
from ._errors import CagedError
from ._naming import did_you_mean

F = TypeVar("F", bound=Callable[..., Any])


def known_keywords(called: str) -> Callable[[F], F]:
    """Reject unknown keywords with a `CagedError` that suggests the nearest name, before anything is sent.

    Static checkers see the method as it is written.

    Args:
        called: What the message calls the method.
    """

    def decorate(method: F) -> F:
        names = [name for name in inspect.signature(method).parameters if name != "self"]

        def check(given: Iterable[str]) -> None:
            for name in given:
                if name not in names:
                    raise CagedError(f"{called} has no argument {name!r}{did_you_mean(name, names)}")

        # A coroutine function stays one, because some programs test for that.
        if inspect.iscoroutinefunction(method):

            @wraps(method)
            async def call_async(*args: Any, **kwargs: Any) -> Any:
                check(kwargs)
                return await method(*args, **kwargs)

            return cast(F, call_async)

        @wraps(method)
        def call(*args: Any, **kwargs: Any) -> Any:
            check(kwargs)
            return method(*args, **kwargs)

        return cast(F, call)

    return decorate


def segment(name: str, value: Any) -> str:
    """An id as one path segment, percent-encoded except for letters, digits and ``_.-~``."""
    value = text(name, value)
    if not value:
        raise CagedError(f"{name} is empty; pass the id that the API gave")
    if value in {".", ".."}:
        raise CagedError(f"{name} cannot be {value!r}: it would name another path of the API")
    return quote(value, safe="")


def text(name: str, value: Any) -> str:
    """A string that can be sent as UTF-8; may be empty."""
    if not isinstance(value, str):
        raise CagedError(f"{name} must be a str, not {type(value).__name__}{_text_hint(name, value)}")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise CagedError(f"{name} holds a lone surrogate and cannot be sent as UTF-8") from None
    return value


def _text_hint(name: str, value: Any) -> str:
    """What to pass in place of a value that is not a str; empty when it is unknown."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return "; the API takes text only, decode it first"
    if isinstance(value, os.PathLike):
        return f"; pass str({name})"
    if name == "command" and isinstance(value, (list, tuple)):
        return "; pass shlex.join(command)"
    if name.endswith("_id") and isinstance(getattr(value, "id", None), str):
        return "; pass its .id"
    if name.endswith("_id") and value is None:
        return "; pass the id that the API gave"
    return ""


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
        hint = f"; pass {name}.total_seconds()" if hasattr(value, "total_seconds") else ""
        raise CagedError(f"{name} must be a number, not {type(value).__name__}{hint}")
    if isinstance(value, float) and not math.isfinite(value):
        raise CagedError(f"{name} must be a finite number")
    return float(value) if isinstance(value, float) else int(value)


def seconds(name: str, value: Any) -> Optional[float]:
    """A duration above 0, or None. What None means is up to the caller, so the error does not say it."""
    if value is None:
        return None
    amount = number(name, value)
    if not 0 < amount <= LONGEST_TIMEOUT:
        longest = f"{LONGEST_TIMEOUT:.0f} seconds"
        raise CagedError(f"{name} must be above 0 and at most {longest}")
    return amount


def texts(name: str, value: Any) -> list[str]:
    """A list or tuple of strings. A bare string is an error: it would be read as a list of its characters."""
    if not isinstance(value, (list, tuple)):
        hint = f"; pass [{name}]" if isinstance(value, str) else ""
        raise CagedError(f"{name} must be a list of str, not {type(value).__name__}{hint}")
    return [text(f"{name}[{index}]", item) for index, item in enumerate(value)]


def text_mapping(name: str, value: Any) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise CagedError(f"{name} must be a dict of str to str, not {type(value).__name__}")
    return {text(f"a key of {name}", key): text(f"{name}[{key!r}]", item) for key, item in value.items()}
