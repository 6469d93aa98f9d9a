"""Patterns of commands, arguments, input and prompts, and their form in the admin API."""

from __future__ import annotations

import re
import secrets
from typing import Any, Callable, Optional, Union

from .admin_client import AdminClient
from .checking import check_pattern
from .transport import IdOrObject

#: The exact text or a glob with `*`, `?` and `[`; or a compiled regular expression, which is searched for.
Pattern = Union[str, "re.Pattern[str]"]
_FLAGS = {re.I: "i", re.M: "m", re.S: "s", re.X: "x", re.A: "a"}
_OWN_FLAGS = re.compile(r"\A\(\?[aimsux]+\)")


def as_json(name: str, pattern: Optional[Pattern]) -> Union[str, dict[str, str], None]:
    """As the admin API takes it: a text, or `{"regex": "..."}`. Each pattern carries its own kind.

    Raises:
        TypeError: It is not a pattern; the text starts with `name`.
    """
    if pattern is None:
        return None
    check_pattern(name, pattern)
    if isinstance(pattern, str):
        return pattern
    letters = "".join(letter for flag, letter in _FLAGS.items() if pattern.flags & flag)
    text = _OWN_FLAGS.sub("", pattern.pattern)
    return {"regex": f"(?{letters}){text}" if letters else text}


def given(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def add(
    link: AdminClient,
    path: str,
    body: dict[str, Any],
    function: Optional[Callable[..., Any]],
    what: str,
    account: Optional[IdOrObject],
) -> dict[str, Any]:
    """Add a stub or a reply. A function is registered with the emulator of this process, and its handle sent.

    Raises:
        ValueError: An option is wrong.
        EmulatorError: The emulator is in another process, where a function cannot be called; `what` names it.
    """
    if function is None:
        added: dict[str, Any] = link.call("POST", path, given(body), account=account)
        return added
    functions, handle = link.local(what).functions, secrets.token_hex(8)
    functions[handle] = function
    try:
        return dict(link.call("POST", path, {**given(body), "function": handle}, account=account))
    finally:
        functions.pop(handle, None)
