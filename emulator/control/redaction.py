"""Redaction of secrets: the newest values of an account's sandboxes are replaced wherever a text is kept or shown.

Which module redacts what, and when:

| module                        | when                               | what                                            |
|-------------------------------|------------------------------------|-------------------------------------------------|
| `control/redaction.py`        | before the journal keeps a request | declared secrets of the account's sandboxes, in |
|                               |                                    | every encoding                                  |
| `control/credentials.py`      | wherever a module of this table    | API keys, passwords, tickets of the platform;   |
|                               | redacts                            | users and passwords in URLs, and of headers of  |
|                               |                                    | basic authentication                            |
| `platform/redaction.py`       | before a text of one sandbox is    | declared secrets of that sandbox, tokens of its |
|                               | kept: its log, commands, output    | account's fake repositories                     |
| `platform/event_redaction.py` | before an event is kept            | the same in its data                            |
| `control/step_redaction.py`   | when steps are shown: lists,       | all values of environments, declared or not,    |
|                               | streams, pages, traces             | apart from paths and short words                |
| `trace/redaction.py`          | when a trace is written            | the same in the failure, and the SDK's calls    |
| `inspector/public_api.py`     | when a page of the inspector reads | the same in records and logs                    |
"""

from __future__ import annotations

import functools
import json
import re
import shlex
from bisect import bisect
from collections.abc import Iterable, Sequence
from typing import Optional
from urllib.parse import quote, quote_plus

from .credentials import LONGEST_CREDENTIAL, Text, redact_credentials

#: Every body is searched for each of them; a suite with a new secret for every sandbox must not slow down by it.
MOST = 500
#: A longer value is found by its beginning, and replaced as far as the text agrees with it. So no more than this has to
#: be searched behind the place where a text is cut.
LONGEST = 512
#: What has to be searched behind the place where a text is cut, so that no part of a secret is left at its end.
SPARE = max(LONGEST, LONGEST_CREDENTIAL)
#: Characters times values: above it, values that cannot be in the text are left out of the search.
_SEARCHED_AT_ONCE, _MANY, _PAIRS = 1_000_000, 100, 24


def redact_values(text: Text, values: Sequence[Text]) -> Text:
    """Replace each of the values by `***`. The longest come first, because one may be part of another."""
    stars = _stars(text)
    many = len(values) > _MANY and len(text) * len(values) > _SEARCHED_AT_ONCE
    if many and (isinstance(text, bytes) or text.isascii()):
        values = _possible_values(text, values)
    long: dict[Text, list[Text]] = {}
    for value in values:
        if len(value) > LONGEST:
            long.setdefault(value[:LONGEST], []).append(value)
    for beginning, whole in long.items():
        text = _redact_long(text, beginning, whole)
    for value in values:
        if len(value) <= LONGEST and value in text:
            text = text.replace(value, stars)
    return text


def _stars(text: Text) -> Text:
    return "***" if isinstance(text, str) else b"***"


def _possible_values(text: Text, values: Sequence[Text]) -> list[Text]:
    """The values whose pairs of characters at the beginning all occur in the text: nearly always none, or those that
    are in it. One pass over the text takes less time than searching it for hundreds of values."""
    pairs = set(zip(text, text[1:]))
    return [value for value in values if pairs.issuperset(zip(value[:_PAIRS], value[1:_PAIRS]))]


def cut_unsearched_end(piece: Text, spare: int) -> Text:
    """Cut the last `spare` characters of a redacted text that continues: they may be part of a value that was not found
    because the text is cut. A value that was found ends with stars and may stay."""
    return piece if piece.endswith(_stars(piece)) else piece[: max(0, len(piece) - spare)]


def _redact_long(text: Text, beginning: Text, values: list[Text]) -> Text:
    """Replace the values that have this beginning, each as far as the text agrees with it."""
    pieces: list[Text] = []
    values, longest = sorted(values), max(map(len, values))
    done = 0
    while True:
        at = text.find(beginning, done)
        if at < 0:
            pieces.append(text[done:])
            return _stars(text).join(pieces)
        pieces.append(text[done:at])
        # Of sorted values, one of the two around the text agrees with it the furthest.
        place = bisect(values, text[at : at + longest])
        done = at + max(_matching_length(text, at, value) for value in values[max(0, place - 1) : place + 1])


def _matching_length(text: Text, at: int, value: Text) -> int:
    """How many characters of a value's beginning the text has at `at`."""
    count, step = 0, len(value)
    while step:
        while count + step <= len(value) and text[at + count : at + count + step] == value[count : count + step]:
            count += step
        step //= 2
    return count


def redact(text: str, secrets: Sequence[str], most: int, mark: bool = True) -> str:
    """Return what may be kept of a text: valid Unicode, credentials and secrets replaced by `***`.

    No more than what is kept is searched, however long the text is.

    Args:
        secrets: Values to replace besides credentials, longest first.
        most: Characters to keep.
        mark: Whether a cut text says at its end how much is missing.
    """
    if len(text) <= _SHORT:
        piece = _redact_short(text, tuple(secrets))
    else:
        piece = _redact_piece(text[: most + SPARE], secrets)
    if len(text) > most + SPARE:
        piece = cut_unsearched_end(piece, SPARE)
    elif len(piece) <= most:
        return piece
    piece = piece[:most]
    return f"{piece} … ({len(text) - len(piece)} more characters)" if mark else piece


def _redact_piece(piece: str, secrets: Sequence[str]) -> str:
    piece = piece.encode("utf-8", "replace").decode("utf-8")
    return redact_credentials(redact_values(piece, secrets))


#: Characters of a text that is searched once for all the records that show it: a command is in five of them.
_SHORT = 500
_redact_short = functools.lru_cache(maxsize=256)(_redact_piece)

#: The mark of a text that was cut.
_CUT = re.compile(r" ?…(?: \(\d+ more characters[^()]{0,100}\))?$")


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

    def redact(self, text: bytes) -> bytes:
        """Replace the values in a text by `***`."""
        return redact_values(text, self._sorted) if self._sorted else text

    def redact_text(self, text: str) -> str:
        """As `redact`, and make the text valid Unicode."""
        return self.redact(text.encode("utf-8", "replace")).decode("utf-8", "replace")

    def values_in(self, text: str) -> Sequence[bytes]:
        """The values that a text has, for `redact_kept` of each part of it."""
        data = text.encode("utf-8", "replace")
        return tuple(value for value in self._sorted if value[:LONGEST] in data)

    def redact_kept(self, text: str, values: Optional[Sequence[bytes]] = None) -> str:
        """As `redact_text`, for a text that may have been cut before, with a mark: the beginning of a value that stands
        in front of the mark is replaced as well.

        Args:
            text: The text.
            values: Those of the values that may be in it, the longest first; by default all.
        """
        values = self._sorted if values is None else values
        if values:
            text = redact_values(text.encode("utf-8", "replace"), values).decode("utf-8", "replace")
        cut = _CUT.search(text) if text.endswith(("…", ")")) else None
        return text if cut is None else self._without_begun(text[: cut.start()]) + cut.group()

    def _without_begun(self, text: str) -> str:
        end = text[-LONGEST:].encode("utf-8", "replace")
        for value in self._sorted:
            for length in range(min(len(value) - 1, len(end)), 1, -1):
                if value[length - 1] == end[-1] and end.endswith(value[:length]):
                    return text[: len(text) - len(value[:length].decode("utf-8", "replace"))] + "***"
        return text


def _forms(value: str) -> tuple[bytes, ...]:
    """A value as it may stand in texts: also in JSON, JSON in JSON, the words of a shell, and URLs."""
    forms = [value, shlex.quote(value).strip("'"), value.replace("'", "'\\''")]
    words = list(dict.fromkeys(forms))
    for is_ascii in (True, False):
        inner = words
        for _depth in range(3):
            inner = [json.dumps(form, ensure_ascii=is_ascii)[1:-1] for form in inner]
            forms = [*forms, *inner]
    text = value.encode("utf-8", "replace")
    for encode in (quote, quote_plus):
        for safe in ("", "/"):
            forms.append(encode(text, safe=safe))
    return tuple(dict.fromkeys(form.encode("utf-8", "replace") for form in forms))
