"""Quoting for the shell by which the emulator still recognizes paths."""

from __future__ import annotations

import re

_SPECIAL = re.compile(r"[$`\\]")


def quote(text: str) -> str:
    """Return text as one word of the shell, without changing the characters before any quote in it.

    At level `process` the emulator replaces the sandbox's paths in commands, and recognizes them by the two characters
    before them. `shlex.quote` would put five characters in place of an apostrophe.
    """
    words = []
    at = 0
    while at < len(text):
        double, single = _find(text, '"', at), _find(text, "'", at)
        mark, end = ('"', double) if single < double else ("'", single)
        if end < len(text) and end - 1 > at and text[end - 1] not in "\"'":
            end -= 1
        piece = text[at:end]
        words.append(f'"{_SPECIAL.sub(_escaped, piece)}"' if mark == '"' else f"'{piece}'")
        at = end
    return "".join(words) or "''"


def _escaped(match: re.Match[str]) -> str:
    return f"\\{match.group()}"


def _find(text: str, quote: str, start: int) -> int:
    at = text.find(quote, start)
    return len(text) if at < 0 else at
