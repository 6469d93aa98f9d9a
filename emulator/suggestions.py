"""The hint at the end of an error about a name that does not exist."""

from __future__ import annotations

from collections.abc import Iterable


def did_you_mean(name: object, known: Iterable[str], most: int = 3) -> str:
    """Suggest what was probably meant.

    Args:
        name: the name that was given.
        known: the names that exist.
        most: how many suggestions to make at most.

    Returns:
        `; did you mean 'a' or 'b'?`, or an empty string where no known name is similar.
    """
    import difflib  # only for an error's text

    near = difflib.get_close_matches(str(name), sorted(set(known)), most, 0.6)
    return f"; did you mean {' or '.join(repr(one) for one in near)}?" if near else ""
