"""Public names: the module that they appear in, and suggestions for misspelt ones."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

C = TypeVar("C", bound=type)


def public(cls: C) -> C:
    """Make a class read as ``caged.Name`` in tracebacks, reprs and pickles."""
    cls.__module__ = "caged"
    return cls


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """The end of a message about an unknown name: the nearest one, whatever its case, or nothing."""
    from difflib import get_close_matches  # only for messages

    known = {candidate.lower(): candidate for candidate in names}
    close = get_close_matches(name.lower(), known, n=1)
    return f"; did you mean {known[close[0]]!r}?" if close else ""
