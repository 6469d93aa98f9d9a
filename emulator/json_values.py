"""How many values a JSON text has, before it is parsed: a parser holds the interpreter lock until it is done."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Union

#: Of a message that a client sends, unless an operation says otherwise.
MOST = 20_000
_PIECE = 1 << 20


def has_more_values(text: Union[str, bytes], most: int) -> bool:
    """Whether a JSON text has more than about `most` values: elements, keys, objects and arrays."""
    return any(count > most for count in counted(text, most))


def counted(text: Union[str, bytes], most: int) -> Iterator[int]:
    """The number of values so far, again and again, so that the caller can pause in between; ends beyond `most`."""
    quote, comma, opening, array, slash = '",{[\\' if isinstance(text, str) else _BYTES
    quick = 0
    for at in range(0, len(text), _PIECE):  # nearly always enough: what is in strings is counted too
        piece = text[at : at + _PIECE]
        quick += piece.count(comma) + piece.count(opening) + piece.count(array)  # type: ignore[arg-type]
        yield 0
    if quick <= most:
        return
    count = position = 0
    while True:
        end = text.find(quote, position)  # type: ignore[arg-type]
        outside = text[position : end if end >= 0 else len(text)]
        count += outside.count(comma) + outside.count(opening) + outside.count(array)  # type: ignore[arg-type]
        yield count
        if end < 0 or count > most:
            return
        position = end + 1
        while True:  # to the end of the string
            end = text.find(quote, position)  # type: ignore[arg-type]
            if end < 0:
                return
            slashes = end
            while slashes > position and text[slashes - 1 : slashes] == slash:
                slashes -= 1
            position = end + 1
            if (end - slashes) % 2 == 0:
                break
            yield count


_BYTES = (b'"', b",", b"{", b"[", b"\\")
