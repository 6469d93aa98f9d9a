"""The patterns of the search tool: those of Go's `filepath.Match`, which the platform's open-source server uses.

`*` matches any characters, `?` one, `[a-z]` and `[^a-z]` one of a set; `\\` escapes the next character. Python's
fnmatch has other rules: it knows no escapes, negates with `!`, and takes a malformed pattern literally, where Go
reports an error. As in fnmatch, a pattern becomes a regular expression in which no `*` is tried twice: matching takes
time in proportion to the name, whatever the pattern, because the pattern comes from a client.
"""

from __future__ import annotations

import re

MOST = 1000


class GlobError(Exception):
    """A malformed pattern; the text says what is wrong."""


class Glob:
    """A pattern for one name. With a `/` in it (`**/*.py`, `src/*.py`) it matches nothing, as a name has none."""

    def __init__(self, pattern: str) -> None:
        """Raises GlobError."""
        if not pattern:
            raise GlobError("it is empty")
        if len(pattern) > MOST:
            raise GlobError(f"it is longer than {MOST} characters")
        first, *others = _pieces(pattern)
        expression = first
        for number, piece in enumerate(others[:-1]):
            # The nearest match of each piece is enough, and a lookahead is not tried again.
            expression += f"(?=(?P<g{number}>.*?{piece}))(?P=g{number})"
        if others:
            expression += f".*{others[-1]}"
        self._expression = re.compile(expression, re.DOTALL)

    def matches(self, name: str) -> bool:
        """Whether the whole name matches."""
        return self._expression.fullmatch(name) is not None


def _pieces(pattern: str) -> list[str]:
    """Return what is between the stars, as regular expressions."""
    pieces, at = [""], 0
    while at < len(pattern):
        character = pattern[at]
        at += 1
        if character == "*":
            pieces.append("")
        elif character == "?":
            pieces[-1] += "."
        elif character == "[":
            expression, at = _set(pattern, at)
            pieces[-1] += expression
        else:
            if character == "\\":
                character, at = _escaped(pattern, at)
            pieces[-1] += re.escape(character)
    return pieces


def _escaped(pattern: str, at: int) -> tuple[str, int]:
    if at >= len(pattern):
        raise GlobError("nothing follows the last backslash")
    return pattern[at], at + 1


def _set(pattern: str, at: int) -> tuple[str, int]:
    """Return the set that begins at `at`, behind its bracket, as a regular expression; and where it ends."""
    negated = pattern.startswith("^", at)
    at += negated
    ranges = ""
    while True:
        if ranges and pattern.startswith("]", at):
            return f"[{'^' if negated else ''}{ranges}]", at + 1
        low, at = _member(pattern, at)
        high = low
        if pattern.startswith("-", at):
            high, at = _member(pattern, at + 1)
        if high < low:
            raise GlobError(f"the range {low}-{high} is empty")
        ranges += f"{re.escape(low)}-{re.escape(high)}"


def _member(pattern: str, at: int) -> tuple[str, int]:
    if at >= len(pattern):
        raise GlobError("a [ has no ]")
    if pattern[at] == "\\":
        return _escaped(pattern, at + 1)
    if pattern[at] in "-]":
        raise GlobError(f"a set cannot have {pattern[at]} there")
    return pattern[at], at + 1
