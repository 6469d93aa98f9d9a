"""The patterns of the search tool: those of Go's `filepath.Match`, which the platform's open-source server uses.

`*` matches any characters, `?` one, `[a-z]` and `[^a-z]` one of a set; `\\` escapes the next character. Matching takes
time in proportion to the name, whatever the pattern, because the pattern comes from a client.
"""

from __future__ import annotations

import re

MOST = 1000


class BadPattern(Exception):
    """A malformed pattern; the text says what is wrong."""


class Glob:
    """A pattern for one name. With a `/` in it (`**/*.py`, `src/*.py`) it matches nothing, as a name has none."""

    def __init__(self, pattern: str) -> None:
        if not pattern:
            raise BadPattern("it is empty")
        if len(pattern) > MOST:
            raise BadPattern(f"it is longer than {MOST} characters")
        #: What is between the stars: how many characters, and what they have to be.
        self._pieces = [(count, re.compile(text, re.DOTALL)) for count, text in _pieces(pattern)]

    def matches(self, name: str) -> bool:
        (count, first), *others = self._pieces
        if not others:
            return len(name) == count and first.match(name) is not None
        if not first.match(name):
            return False
        at = count
        for _count, piece in others[:-1]:
            found = piece.search(name, at)
            if found is None:
                return False
            at = found.end()
        count, last = others[-1]
        return len(name) - count >= at and last.match(name, len(name) - count) is not None


def _pieces(pattern: str) -> list[tuple[int, str]]:
    pieces: list[tuple[int, str]] = []
    count, text, at = 0, "", 0
    while at < len(pattern):
        character = pattern[at]
        at += 1
        if character == "*":
            pieces.append((count, text))
            count, text = 0, ""
            continue
        count += 1
        if character == "?":
            text += "."
        elif character == "[":
            expression, at = _set(pattern, at)
            text += expression
        else:
            if character == "\\":
                character, at = _escaped(pattern, at)
            text += re.escape(character)
    return [*pieces, (count, text)]


def _escaped(pattern: str, at: int) -> tuple[str, int]:
    if at >= len(pattern):
        raise BadPattern("nothing follows the last backslash")
    return pattern[at], at + 1


def _set(pattern: str, at: int) -> tuple[str, int]:
    """The set that begins at `at`, behind its bracket, as a regular expression; and where it ends."""
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
            raise BadPattern(f"the range {low}-{high} is empty")
        ranges += f"{re.escape(low)}-{re.escape(high)}"


def _member(pattern: str, at: int) -> tuple[str, int]:
    if at >= len(pattern):
        raise BadPattern("a [ has no ]")
    if pattern[at] == "\\":
        return _escaped(pattern, at + 1)
    if pattern[at] in "-]":
        raise BadPattern(f"a set cannot have {pattern[at]} there")
    return pattern[at], at + 1
