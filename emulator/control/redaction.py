"""Redaction of secrets: the newest values of an account's sandboxes are replaced wherever a text is kept or shown."""

from __future__ import annotations

import json
from bisect import bisect
from collections.abc import Iterable, Sequence
from typing import TypeVar

from .credentials import LONGEST_CREDENTIAL, credentials_hidden

#: Every body is searched for each of them; a suite with a new secret for every sandbox must not slow down by it.
MOST = 500
#: A longer value is found by its beginning, and replaced as far as the text agrees with it. So no more than this has to
#: be searched behind the place where a text is cut.
LONGEST = 512
#: What has to be searched behind the place where a text is cut, so that no part of a hidden value is left at its end.
SPARE = max(LONGEST, LONGEST_CREDENTIAL)
#: Characters times values: above it, values that cannot be in the text are left out of the search.
_SEARCHED_AT_ONCE, _MANY, _PAIRS = 1_000_000, 100, 24

Text = TypeVar("Text", str, bytes)


def without(text: Text, values: Sequence[Text], stars: Text) -> Text:
    """Replace each of the values by `stars`. The longest come first, because one may be part of another."""
    many = len(values) > _MANY and len(text) * len(values) > _SEARCHED_AT_ONCE
    if many and (isinstance(text, bytes) or text.isascii()):
        values = _possible(text, values)
    long: dict[Text, list[Text]] = {}
    for value in values:
        if len(value) > LONGEST:
            long.setdefault(value[:LONGEST], []).append(value)
    for beginning, whole in long.items():
        text = _without_long(text, beginning, whole, stars)
    for value in values:
        if len(value) <= LONGEST and value in text:
            text = text.replace(value, stars)
    return text


def _possible(text: Text, values: Sequence[Text]) -> list[Text]:
    """The values whose pairs of characters at the beginning all occur in the text: nearly always none, or those that
    are in it. One pass over the text takes less time than searching it for hundreds of values."""
    pairs = set(zip(text, text[1:]))
    return [value for value in values if pairs.issuperset(zip(value[:_PAIRS], value[1:_PAIRS]))]


def without_end(piece: Text, spare: int, stars: Text) -> Text:
    """Cut the last `spare` characters of a redacted text that continues: they may be part of a value that was not found
    because the text is cut. A value that was found ends with stars and may stay."""
    return piece if piece.endswith(stars) else piece[: max(0, len(piece) - spare)]


def _without_long(text: Text, beginning: Text, values: list[Text], stars: Text) -> Text:
    pieces: list[Text] = []
    values, longest = sorted(values), max(map(len, values))
    done = 0
    while True:
        at = text.find(beginning, done)
        if at < 0:
            pieces.append(text[done:])
            return stars.join(pieces)
        pieces.append(text[done:at])
        # Of sorted values, one of the two around the text agrees with it the furthest.
        place = bisect(values, text[at : at + longest])
        done = at + max(_agreeing(text, at, value) for value in values[max(0, place - 1) : place + 1])


def _agreeing(text: Text, at: int, value: Text) -> int:
    """How many characters of a value's beginning the text has at `at`."""
    count, step = 0, len(value)
    while step:
        while count + step <= len(value) and text[at + count : at + count + step] == value[count : count + step]:
            count += step
        step //= 2
    return count


def redact(text: str, hidden: Sequence[str], most: int, mark: bool = True) -> str:
    """Return what may be kept of a text: valid Unicode, credentials and hidden values replaced by `***`.

    No more than what is kept is searched, however long the text is.

    Args:
        hidden: Values to replace besides credentials, longest first.
        most: Characters to keep.
        mark: Whether a cut text says at its end how much is missing.
    """
    piece = text[: most + SPARE].encode("utf-8", "replace").decode("utf-8")
    piece = credentials_hidden(without(piece, hidden, "***"))
    if len(text) > most + SPARE:
        piece = without_end(piece, SPARE, "***")
    elif len(piece) <= most:
        return piece
    piece = piece[:most]
    return f"{piece} … ({len(text) - len(piece)} more characters)" if mark else piece


class Redactor:
    """Redacts the newest MOST values."""

    def __init__(self) -> None:
        self._values: dict[str, tuple[bytes, ...]] = {}  # oldest first; as they may stand in bodies
        self._sorted: tuple[bytes, ...] = ()

    def add(self, values: Iterable[str]) -> None:
        """Redact these values, also as JSON writes them. One that is known already becomes the newest."""
        changed = False
        for value in filter(None, values):
            known = self._values.pop(value, None)
            self._values[value] = known or _forms(value)
            changed = changed or known is None
        while len(self._values) > MOST:
            del self._values[next(iter(self._values))]
        if changed:
            forms = {form for each in self._values.values() for form in each}
            self._sorted = tuple(sorted(forms, key=len, reverse=True))

    def __bool__(self) -> bool:
        return bool(self._sorted)

    def masked(self, text: bytes) -> bytes:
        return without(text, self._sorted, b"***")


def _forms(value: str) -> tuple[bytes, ...]:
    forms = (value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1])
    return tuple(dict.fromkeys(form.encode("utf-8", "replace") for form in forms))
