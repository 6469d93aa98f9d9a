"""Patterns for names and paths."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Sequence


def matcher(pattern: str) -> Callable[[str], bool]:
    """A function that tells whether a path matches a pattern.

    Args:
        pattern: Without ``/`` for the last part of the path. With ``/`` for the whole path, which is relative: then
            ``*`` stands for a part of one name, and ``**`` for any number of directories.
    """
    if "/" not in pattern:
        name = re.compile(fnmatch.translate(pattern)).match
        return lambda path: name(path.rpartition("/")[2]) is not None
    parts = [part for part in pattern.split("/") if part not in ("", ".")]
    whole = re.compile("".join(_expressions(parts)) + r"\Z", re.DOTALL).match
    return lambda path: whole(path) is not None


def _expressions(parts: list[str]) -> list[str]:
    made = []
    for index, part in enumerate(parts):
        last = index == len(parts) - 1
        if part == "**":
            made.append(".*" if last else "(?:[^/]+/)*")
        else:
            made.append(_one_name(part) + ("" if last else "/"))
    return made


def _one_name(part: str) -> str:
    """The expression of a part of a path; what stands for any character in a name is not a slash."""
    expression = fnmatch.translate(part).removeprefix("(?s:").removesuffix(r")\Z")
    return f"(?=[^/]*(?:/|\\Z))(?s:{expression.replace('.*', '[^/]*')})"


def ignoring(patterns: Sequence[str]) -> Callable[[str], bool]:
    """A function that tells whether a relative path, or a directory that it is in, matches one of some patterns."""
    matchers = [matcher(pattern) for pattern in patterns]

    def ignored(path: str) -> bool:
        parts = path.split("/")
        above = ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
        return any(matches(part) for matches in matchers for part in above)

    return ignored
