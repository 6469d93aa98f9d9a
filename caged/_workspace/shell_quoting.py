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
    length = len(text)
    has_special = _SPECIAL.search(text) is not None
    at = 0
    double = single = -1  # where the next one of each kind is; from there on it is not looked for again
    while at < length:
        if double < at:
            double = _find(text, '"', at)
        if single < at:
            single = _find(text, "'", at)
        is_double = single < double
        end = double if is_double else single
        if end < length and end - 1 > at and text[end - 1] not in "\"'":
            end -= 1
        piece = text[at:end]
        if is_double:
            words.append(f'"{_SPECIAL.sub(_escaped, piece) if has_special else piece}"')
        else:
            words.append(f"'{piece}'")
        at = end
    return "".join(words) or "''"


def _escaped(match: re.Match[str]) -> str:
    return f"\\{match.group()}"


def _find(text: str, quote: str, start: int) -> int:
    at = text.find(quote, start)
    return len(text) if at < 0 else at
