"""Text patterns of controls and of the journal's assertions, and the texts that come nearest to one.

Each pattern carries its own kind, so two patterns of one control never change each other.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Optional, Union

#: In Python: the exact text or a glob with `*`, `?` and `[`; or a compiled regular expression, which is searched for.
Pattern = Union[str, "re.Pattern[str]"]
#: As JSON: a text, or `{"regex": "..."}`.
Json = Union[str, dict[str, str]]

_FLAGS = {re.I: "i", re.M: "m", re.S: "s", re.X: "x", re.A: "a"}
_OWN_FLAGS = re.compile(r"\A\(\?[aimsux]+\)")
#: How many of the nearest texts are listed.
NEAREST = 5
#: How many of the newest texts are compared for that, and how many characters of each.
_COMPARED, _CHARACTERS = 1000, 300


def matches_glob(text: str, glob: str) -> bool:
    """Whether a text matches a glob with `*`, `?` and `[`, as in fnmatch.

    A `[` that no `]` follows is marked as literal before. fnmatch takes it so, too, but searches the whole rest of the
    pattern for each, which takes seconds for thousands of them.
    """
    closed = glob.rfind("]") + 1
    return fnmatchcase(text, glob[:closed] + glob[closed:].replace("[", "[[]"))


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

    @classmethod
    def of_python(cls, name: str, given: Any) -> TextPattern:
        """Make the pattern of the option `name` from what Python code gives. Flags become part of the expression.

        Raises:
            TypeError: It is neither a str nor a regular expression compiled from a str.
        """
        if isinstance(given, str):
            return cls(given)
        if not isinstance(given, re.Pattern) or not isinstance(given.pattern, str):
            raise TypeError(
                f"{name}: must be a str (exact, or a glob with * ? [) or a regular expression compiled from a str,"
                f" not {given!r}"
            )
        letters = "".join(letter for flag, letter in _FLAGS.items() if given.flags & flag)
        text = _OWN_FLAGS.sub("", given.pattern)
        return cls(f"(?{letters}){text}" if letters else text, regex=True)

    @property
    def json(self) -> Json:
        return {"regex": self.text} if self.regex else self.text

    def matches(self, text: str) -> bool:
        if self.regex:
            return re.search(self.text, text) is not None
        return text.strip() == self.text.strip() or matches_glob(text.strip(), self.text.strip())

    def __repr__(self) -> str:
        return f"{'regex ' if self.regex else ''}{self.text!r}"


def matches(pattern: Optional[TextPattern], text: str) -> bool:
    """Whether `text` matches; every text matches None."""
    return pattern is None or pattern.matches(text)


def nearest(wanted: str, texts: Sequence[str]) -> list[str]:
    """The texts that are most similar to `wanted`, then the newest others; at most NEAREST, each once."""
    similar = difflib.get_close_matches(wanted, texts[-_COMPARED:], NEAREST, 0.4)
    others = [text for text in dict.fromkeys(reversed(texts)) if text not in similar]
    return [*dict.fromkeys(similar), *others][:NEAREST]


def nearest_lines(wanted: str, texts: Sequence[str]) -> list[str]:
    """The lines of a message that lists the nearest texts, each cut, with how often it occurs."""
    texts = [text[:_CHARACTERS] for text in texts]
    listed, counts = nearest(wanted[:_CHARACTERS], texts), Counter(texts)
    lines = [f"  {text}" + (f" ({counts[text]} times)" if counts[text] > 1 else "") for text in listed]
    more = len(texts) - sum(counts[text] for text in listed)
    return [*lines, f"  … and {more} more"] if more > 0 else lines
