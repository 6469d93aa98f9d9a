"""How a test says which commands, prompts or arguments it means, so that it can travel."""

from __future__ import annotations

import fnmatch
import re
import secrets
from collections.abc import Sequence
from typing import Any, Callable, Optional, Union

from .link import Link, Of

#: Exact, or with * ? [ a pattern; compiled, a regular expression that is found somewhere.
Pattern = Union[str, "re.Pattern[str]"]
_FLAGS = {re.I: "i", re.M: "m", re.S: "s", re.X: "x", re.A: "a"}
_OWN_FLAGS = re.compile(r"\A\(\?[aimsux]+\)")


def as_text(pattern: Optional[Pattern], regex: bool) -> Optional[str]:
    """As the admin API takes it. `regex`: as a regular expression, also one that is none."""
    if pattern is None:
        return None
    if isinstance(pattern, str):
        return fnmatch.translate(pattern) if regex else pattern
    letters = "".join(letter for flag, letter in _FLAGS.items() if pattern.flags & flag)
    text = _OWN_FLAGS.sub("", pattern.pattern)
    return f"(?{letters}){text}" if letters else text


def any_regex(patterns: Sequence[Optional[Pattern]]) -> bool:
    return any(pattern is not None and not isinstance(pattern, str) for pattern in patterns)


def given(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def add(
    link: Link,
    path: str,
    body: dict[str, Any],
    function: Optional[Callable[..., Any]],
    what: str,
    account: Optional[Of],
) -> dict[str, Any]:
    """POSTs it. A function is left with the emulator of this process, and its handle sent; EmulatorError where there is
    none: `what` cannot travel."""
    if function is None:
        told: dict[str, Any] = link.call("POST", path, given(body), account=account)
        return told
    functions, handle = link.local(what).functions, secrets.token_hex(8)
    functions[handle] = function
    try:
        return dict(link.call("POST", path, {**given(body), "function": handle}, account=account))
    finally:
        functions.pop(handle, None)
