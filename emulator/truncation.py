"""Truncation of texts that are shown or kept: one function for all of them."""

from __future__ import annotations


def truncate(text: str, most: int, mark: str = "…", *, includes_mark: bool = False) -> str:
    """Return a text, without its end where it is too long.

    Args:
        text: The text.
        most: Characters that a text may have, and of which a longer one keeps as many.
        mark: What stands in place of the end.
        includes_mark: Whether `most` counts the mark, too.
    """
    if len(text) <= most:
        return text
    return f"{text[: most - len(mark) if includes_mark else most]}{mark}"
