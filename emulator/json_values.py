"""How many values a JSON text has, before it is parsed: a parser holds the interpreter lock until it is done."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Union

#: Of a message that a client sends, unless an operation says otherwise.
MOST = 20_000
_PIECE = 1 << 20


def has_more_values(text: Union[str, bytes], most: int) -> bool:
    """Whether a JSON text has more than about `most` values: elements, keys, objects and arrays."""
    return any(count > most for count in counted(text, most))


def counted(text: Union[str, bytes], most: int) -> Iterator[int]:
    """The number of values so far, again and again, so that the caller can pause in between; ends beyond `most`."""
    signs: Any = ('"', ",", "{", "[", "\\\\", '\\"', "") if isinstance(text, str) else _BYTES
    quote, comma, opening, array, slashes, escaped, nothing = signs
    rest: Any = text

    def values(piece: Any) -> int:
        return int(piece.count(comma) + piece.count(opening) + piece.count(array))

    quick = 0
    for at in range(0, len(rest), _PIECE):  # nearly always enough: what is in strings is counted too
        quick += values(rest[at : at + _PIECE])
        yield 0
    if quick <= most:
        return
    pieces, at = [], 0
    while at < len(rest):
        end = at + _PIECE
        row = len(rest[at:end]) - len(rest[at:end].rstrip(slashes))
        end += row % 2  # no cut behind a backslash that belongs to what follows
        # Without these, every quote begins or ends a string.
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
        if strings > 2 * most:  # of an object's entry, two may be strings
            yield most + 1
            return


_BYTES = (b'"', b",", b"{", b"[", b"\\\\", b'\\"', b"")
