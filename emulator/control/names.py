"""Names that exist, and error texts for those that do not."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

from .patterns import matches_glob

_GLOB = frozenset("*?[")
#: Longer lists are not printed in full.
_MOST_LISTED = 12


def is_glob(text: str) -> bool:
    return not _GLOB.isdisjoint(text)


def check_known(option: str, pattern: str, known: Iterable[str], what: str) -> None:
    """Check that a name, or a glob, matches at least one of the known names.

    Args:
        option: The option that holds it, for the error text.
        pattern: The name or glob.
        known: All names.
        what: What the names are, e.g. "an operation of the API".

    Raises:
        ValueError: None matches; the text suggests similar names.
    """
    names = sorted(set(known))
    if not any(name == pattern or matches_glob(name, pattern) for name in names):
        raise ValueError(f"{option}: {pattern!r} is not {what}{suggestion(pattern, names)}")


def alternatives(names: Sequence[str]) -> str:
    """The names of a closed set as the words of a help text: `a`, `b` or `c`."""
    *first, last = (f"`{name}`" for name in names)
    return f"{', '.join(first)} or {last}"


def suggestion(name: str, known: Iterable[str]) -> str:
    """The end of an error text: similar names, or all of them when there are few."""
    names = sorted(set(known))
    near = difflib.get_close_matches(name, names, 3, 0.5)
    if near:
        return f"; did you mean {' or '.join(repr(one) for one in near)}?"
    if not names:
        return ""
    listed = ", ".join(names[:_MOST_LISTED])
    return f"; known are {listed}{', …' if len(names) > _MOST_LISTED else ''}"
