"""Validation of stored records: what each field may be, as rules that also say it in an error.

A rule is about the JSON value as it is stored. `record_rules.py` has the rules of all records.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Callable, Protocol, Union

from ..control.clock import from_rfc3339
from ..truncation import truncate

#: Ids are also names of files.
IDENTIFIER = re.compile(r"[a-z]{1,16}_[a-z0-9]{1,32}")
#: The years 1 to 9999 in epoch seconds, whatever the offset.
_EARLIEST, _LATEST = -62135683200.0, 253402387199.0
_MOST_INTEGER = 1 << 63
#: Levels of a JSON value; more than any event has (platform/events.py).
_DEEPEST = 200
_SHOWN = 60


class DamagedRecord(ValueError):
    """A record is not one that an emulator writes; the text says which, and why."""


class Check(Protocol):
    """The validation of one value."""

    def check(self, value: Any, record: str, name: str) -> None:
        """Raise DamagedRecord unless the value is valid.

        Args:
            value: The JSON value.
            record: The record, for the error: its kind and id.
            name: The name of the value in the record, such as `rules.rule_1.type`; empty for the record itself.
        """


@dataclass(frozen=True)
class Rule:
    """What one value may be.

    Attributes:
        expected: The allowed values, as a phrase that follows "must be".
        is_valid: Whether a JSON value of any type is allowed.
        is_secret: Whether an error must not show the value.
    """

    expected: str
    is_valid: Callable[[Any], bool]
    is_secret: bool = False

    def check(self, value: Any, record: str, name: str) -> None:
        if not self.is_valid(value):
            shown = "" if self.is_secret else f", not {_shown(value)}"
            raise DamagedRecord(f"{record}: {name} must be {self.expected}{shown}")

    def or_none(self) -> Rule:
        """The rule of a value that may also be null."""
        return replace(
            self, expected=f"{self.expected}, or null", is_valid=lambda value: value is None or self.is_valid(value)
        )

    def or_empty(self) -> Rule:
        """The rule of a text that may also be empty."""
        return replace(self, expected=f"{self.expected}, or empty", is_valid=lambda v: v == "" or self.is_valid(v))

    def secret(self) -> Rule:
        return replace(self, is_secret=True)


@dataclass(frozen=True)
class Fields:
    """The rules of an object's keys. Other keys are ignored.

    Attributes:
        rules: The rules by key.
        optional: Keys that may be missing.
        or_none: Whether null may stand in place of the object.
    """

    rules: Mapping[str, Check]
    optional: Collection[str] = field(default=())
    or_none: bool = False

    def check(self, value: Any, record: str, name: str) -> None:
        if value is None and self.or_none:
            return
        if not isinstance(value, dict):
            what = f"{record}: {name} must be" if name else f"{record} must be"
            raise DamagedRecord(f"{what} an object, not {_shown(value)}")
        for key, rule in self.rules.items():
            inner = f"{name}.{key}" if name else key
            if key in value:
                rule.check(value[key], record, inner)
            elif key not in self.optional:
                raise DamagedRecord(f"{record}: {inner} is missing")


@dataclass(frozen=True)
class Items:
    """The rules of a list's items, by their number: a list that stands for an object.

    Attributes:
        rules: Name and rule of each item.
    """

    rules: Mapping[str, Check]

    def check(self, value: Any, record: str, name: str) -> None:
        if not isinstance(value, list) or len(value) != len(self.rules):
            raise DamagedRecord(f"{record} must be a list of {', '.join(self.rules)}, not {_shown(value)}")
        for (key, rule), item in zip(self.rules.items(), value):
            rule.check(item, record, key)


@dataclass(frozen=True)
class Objects:
    """An object of objects by their id.

    Attributes:
        fields: The rules of each of them, with the key `id`.
    """

    fields: Fields

    def check(self, value: Any, record: str, name: str) -> None:
        if not isinstance(value, dict):
            raise DamagedRecord(f"{record}: {name} must be an object, not {_shown(value)}")
        for key, inner in value.items():
            self.fields.check(inner, record, f"{name}.{key[:_SHOWN]}")
            if inner["id"] != key:
                raise DamagedRecord(f"{record}: {name}.{key[:_SHOWN]}.id must be {key[:_SHOWN]!r}")


# --- rules


def one_of(values: Collection[str]) -> Rule:
    allowed = frozenset(values)
    return Rule(f"one of {', '.join(values)}", lambda value: type(value) is str and value in allowed)


def integer(least: int, most: int = _MOST_INTEGER - 1) -> Rule:
    expected = f"an integer from {least} to {most}" if most < _MOST_INTEGER - 1 else f"an integer from {least} up"
    return Rule(expected, lambda value: type(value) is int and least <= value <= most)


def number(least: float = -math.inf, most: float = math.inf) -> Rule:
    """The rule of a finite number."""
    expected = "a finite number" + (f" from {least:g}" if math.isfinite(least) else "")
    if math.isfinite(most):
        expected += f" to {most:g}"
    elif math.isfinite(least):
        expected += " up"
    return Rule(expected, lambda value: is_finite(value) and least <= value <= most)


def text(least: int = 0) -> Rule:
    """The rule of a text that can be sent.

    Args:
        least: The smallest number of characters, 0 or 1.
    """
    expected = "a text that is not empty" if least else "a text"
    return Rule(expected, lambda value: is_text(value) and len(value) >= least)


def matching(pattern: Union[str, re.Pattern[str]], expected: str) -> Rule:
    compiled = re.compile(pattern)
    return Rule(expected, lambda value: is_text(value) and compiled.fullmatch(value) is not None)


def list_of(rule: Rule) -> Rule:
    return replace(
        rule,
        expected=f"a list in which each is {rule.expected}",
        is_valid=lambda value: isinstance(value, list) and all(map(rule.is_valid, value)),
    )


def mapping(key: Rule, value: Rule) -> Rule:
    return Rule(
        f"an object in which each key is {key.expected} and each value {value.expected}",
        lambda given: (
            isinstance(given, dict) and all(map(key.is_valid, given)) and all(map(value.is_valid, given.values()))
        ),
        key.is_secret or value.is_secret,
    )


def _is_timestamp(value: Any) -> bool:
    if type(value) is not str:
        return False
    try:
        return _EARLIEST <= from_rfc3339(value) <= _LATEST
    except ValueError:
        return False


def is_finite(value: Any) -> bool:
    """Whether a value is a number that is neither infinite nor NaN; a bool is not a number."""
    if type(value) is int:
        return abs(value) < 1 << 1000  # a larger one cannot become a float
    return type(value) is float and math.isfinite(value)


def is_text(value: Any) -> bool:
    """Whether a value is a string that can be sent: one with a half of a surrogate pair cannot be encoded."""
    if type(value) is not str:
        return False
    try:
        return value.isascii() or bool(value.encode())
    except UnicodeEncodeError:
        return False


def is_json(value: Any, depth: int = 0) -> bool:
    """Whether a parsed value can be sent as JSON: no NaN, no half of a surrogate pair, not nested too deeply."""
    if depth > _DEEPEST:
        return False
    if isinstance(value, dict):
        return all(is_text(name) and is_json(inner, depth + 1) for name, inner in value.items())
    if isinstance(value, list):
        return all(is_json(inner, depth + 1) for inner in value)
    return value is None or type(value) is bool or is_finite(value) or is_text(value)


FLAG = Rule("true or false", lambda value: type(value) is bool)
ID = matching(IDENTIFIER, "an id like cage_1a2b3c4d")
TIMESTAMP = Rule("an RFC 3339 time", _is_timestamp)
EPOCH = replace(number(_EARLIEST, _LATEST), expected="a time in epoch seconds of the years 1 to 9999")
COUNT = integer(0)
#: In USD, or in seconds.
AMOUNT = number(0)
TEXT = text()
JSON = Rule("a JSON value with finite numbers", is_json)


def _shown(value: Any) -> str:
    if isinstance(value, (list, dict)):
        return "a list" if isinstance(value, list) else "an object"
    shown = "null" if value is None else repr(value).lower() if isinstance(value, bool) else repr(value)
    return truncate(shown, _SHOWN)
