"""Text patterns of controls. Each carries its own kind, so two patterns of one control never change each other."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Optional, Union

#: As JSON: a text, or `{"regex": "..."}`.
Json = Union[str, dict[str, str]]


@dataclass(frozen=True)
class TextPattern:
    """A pattern for a command, arguments, input or a prompt.

    Args:
        text: The exact text or a glob with `*`, `?` and `[`; space around it is ignored. With `regex`: a regular
            expression that is searched for.
        regex: Whether `text` is a regular expression.
    """

    text: str
    regex: bool = False

    @classmethod
    def of(cls, name: str, given: Union[str, Mapping[str, str], None]) -> Optional[TextPattern]:
        """Make the pattern of the option `name` from its JSON form.

        Raises:
            ValueError: The regular expression cannot be compiled.
        """
        if given is None:
            return None
        if isinstance(given, str):
            return cls(given)
        pattern = cls(given["regex"], regex=True)
        try:
            re.compile(pattern.text)
        except re.error as error:
            raise ValueError(f"{name}: {pattern.text!r} is not a regular expression: {error}") from None
        return pattern

    @property
    def json(self) -> Json:
        return {"regex": self.text} if self.regex else self.text

    def matches(self, text: str) -> bool:
        if self.regex:
            return re.search(self.text, text) is not None
        return text.strip() == self.text.strip() or fnmatchcase(text.strip(), self.text.strip())

    def __repr__(self) -> str:
        return f"{'regex ' if self.regex else ''}{self.text!r}"


def matches(pattern: Optional[TextPattern], text: str) -> bool:
    """Whether `text` matches; every text matches None."""
    return pattern is None or pattern.matches(text)
