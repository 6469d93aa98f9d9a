"""Counts the values of a JSON text before it is parsed: the parser holds the interpreter lock until it is done."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Union

#: Of a client's message, unless the operation has another limit.
MOST_VALUES = 20_000
_PIECE = 1 << 18


def has_more_values(text: Union[str, bytes], most: int) -> bool:
    """Whether a JSON text has more than about `most` values (elements, keys, objects and arrays)."""
    # A value takes a character at least, so that short texts, which nearly all are, need not be searched.
    return len(text) > most and any(count > most for count in count_values(text, most))


def count_values(text: Union[str, bytes], most: int) -> Iterator[int]:
    """Yield the number of values so far, piece by piece, so that the caller can pause in between.

    Args:
        text: The JSON text.
        most: The count ends when it is larger.
    """
    signs: Any = ('"', ",", "{", "[", "\\\\", '\\"', "") if isinstance(text, str) else _BYTES
    quote, comma, opening, array, slashes, escaped, nothing = signs
    rest: Any = text

    def values(piece: Any) -> int:
        return int(piece.count(comma) + piece.count(opening) + piece.count(array))

    quick = 0
    for at in range(
        0, len(rest), _PIECE
    ):  # an upper bound, because it includes the content of strings; nearly always sufficient
        quick += values(rest[at : at + _PIECE])
        yield 0
    if quick <= most:
        return
    pieces, at = [], 0
    while at < len(rest):
        end = at + _PIECE
        trailing = len(rest[at:end]) - len(rest[at:end].rstrip(slashes))
        end += trailing % 2  # a piece must not end within an escape sequence
        # Without escape sequences, every quote begins or ends a string.
        pieces.append(rest[at:end].replace(slashes, nothing).replace(escaped, nothing))
        at = end
        yield 0
    rest = nothing.join(pieces)
    count = strings = position = 0
    while count <= most:
        end = rest.find(quote, position)
        count += values(rest[position : end if end >= 0 else len(rest)])
        yield count
        if end < 0:
            return
        position = rest.find(quote, end + 1) + 1
        if not position:
            return
        strings += 1
        if strings > 2 * most:  # an entry of an object may have two strings
            yield most + 1
            return


_BYTES = (b'"', b",", b"{", b"[", b"\\\\", b'\\"', b"")
