"""Public names: the module that they appear in, and suggestions for misspelt ones."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

C = TypeVar("C", bound=type)

#: How similar a name is to another one that was misspelt, of `difflib`'s ratio.
_MISSPELT = 0.8
#: Letters of a name that another one may begin with and mean the same.
_SHORTEST_BEGINNING = 4


def public(cls: C) -> C:
    """Make a class read as ``caged.Name`` in tracebacks, reprs and pickles."""
    cls.__module__ = "caged"
    return cls


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """The end of a message about an unknown name: the nearest one, whatever its case, or nothing."""
    from difflib import get_close_matches  # only for messages

    known = {candidate.lower(): candidate for candidate in names}
    given = name.lower()
    # `repository` is a longer word for `repo`, though more of it is in `repo_subdir`.
    shorter = [one for one in known if len(one) >= _SHORTEST_BEGINNING and given.startswith(one)]
    close = get_close_matches(given, known, 1, _MISSPELT) or sorted(shorter, key=len)[-1:]
    close = close or get_close_matches(given, known, 1)
    return f"; did you mean {known[close[0]]!r}?" if close else ""
