"""Patterns for names and paths."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from .._errors import CagedError


def matcher(pattern: str) -> Callable[[str], bool]:
    """A predicate: whether a relative path matches a pattern.

    Args:
        pattern: ``*``, ``?`` and ``[...]`` stand for characters of a name. Without ``/`` the pattern is compared with
            the last part of the path. With ``/`` it is compared with all of it, and ``**`` stands for any number of
            directories.

    Raises:
        CagedError: It is not a pattern, or can match nothing.
    """
    parts = [part for part in pattern.split("/") if part not in ("", ".")]
    if not parts:
        raise CagedError(f"{pattern!r} is not a pattern: it is empty, and matches no name; '*' matches every one")
    if ".." in parts:
        raise CagedError(f"{pattern!r} is not a pattern: '..' leads out of the directory that it is for")
    try:
        expression = _name(pattern) if "/" not in pattern else "".join(_paths(parts))
        compiled = re.compile(expression, re.DOTALL)
    except (ValueError, re.error) as problem:
        raise CagedError(f"{pattern!r} is not a pattern: {problem}") from None
    if "/" not in pattern:
        return lambda path: compiled.fullmatch(path.rpartition("/")[2]) is not None
    return lambda path: compiled.fullmatch(path) is not None


def _paths(parts: Sequence[str]) -> list[str]:
    made = []
    for index, part in enumerate(parts):
        last = index == len(parts) - 1
        if part == "**":
            made.append(".*" if last else "(?:[^/]+/)*")
        else:
            made.append(_name(part) + ("" if last else "/"))
    return made


def _name(pattern: str) -> str:
    """The regular expression of a pattern of one name, as `fnmatch` has it; a slash is no character of a name.

    Raises:
        ValueError: It is not a pattern.
    """
    expression = ""
    index = 0
    while index < len(pattern):
        character = pattern[index]
        index += 1
        if character == "*":
            expression += "[^/]*"
        elif character == "?":
            expression += "[^/]"
        elif character == "[":
            end = _end_of_set(pattern, index)
            if end < 0:
                raise ValueError("no ']' follows its '['; the character itself is '[[]'")
            inner = pattern[index:end].replace("\\", "\\\\").replace("[", "\\[")
            negated = inner.startswith("!")
            expression += f"(?!/)[{'^' if negated else ''}{_escaped(inner[negated:])}]"
            index = end + 1
        else:
            expression += re.escape(character)
    return expression


def _end_of_set(pattern: str, begin: int) -> int:
    """Where the set that begins there ends; -1 if it does not. A bracket that comes first is a member of it."""
    first = begin + 1 if pattern[begin : begin + 1] == "!" else begin
    return pattern.find("]", first + 1)


def _escaped(members: str) -> str:
    """The members of a set, of which none has a meaning in a regular expression but the minus."""
    return re.sub(r"[\]^&~|]", r"\\\g<0>", members)


def ignoring(patterns: Sequence[str]) -> Callable[[str], bool]:
    """A predicate: whether a relative path, or a directory that it is in, matches one of some patterns.

    Raises:
        CagedError: One of them is not a pattern, or begins with ``!``.
    """
    for pattern in patterns:
        # In a .gitignore it takes back what a pattern before it has left out.
        if pattern.startswith("!"):
            raise CagedError(
                f"ignore has {pattern!r}, but takes nothing back; leave the pattern out, or write {f'**/{pattern}'!r} "
                "for files of this name"
            )
    matchers = [matcher(pattern) for pattern in patterns]

    def ignored(path: str) -> bool:
        parts = path.split("/")
        above = ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
        return any(matches(part) for matches in matchers for part in above)

    return ignored
