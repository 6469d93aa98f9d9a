"""Limits on the controls of an account: how many of each kind, and how much text."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Protocol

#: Of each kind of control and account: how many, and how many characters of their texts in all.
MOST, CHARACTERS = 5000, 64 * 1024**2


class _Control(Protocol):
    @property
    def id(self) -> str: ...

    @property
    def account(self) -> str: ...


def size_of(value: Any) -> int:
    """Characters of the texts in a control or an output."""
    if isinstance(value, (str, bytes)):
        return len(value)
    if isinstance(value, Mapping):
        return sum(size_of(name) + size_of(inner) for name, inner in value.items())
    if isinstance(value, (list, tuple)):
        return sum(size_of(inner) for inner in value)
    if dataclasses.is_dataclass(value):
        return sum(size_of(getattr(value, field.name)) for field in dataclasses.fields(value))
    return 0


class Capacity:
    """Counts the controls of one kind. `what`: what they are called, in the plural."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._sizes: dict[str, dict[str, int]] = {}  # account -> control -> size

    def take(self, control: _Control, held: Mapping[str, object]) -> None:
        """Count a new control. `held`: all that exist, by id; others are no longer counted.

        Raises:
            ValueError: There are too many, or too much text.
        """
        sizes = self._sizes.setdefault(control.account, {})
        for gone in [each for each in sizes if each not in held]:
            del sizes[gone]
        size = size_of(control)
        if len(sizes) >= MOST:
            raise ValueError(f"there are {MOST:,} {self._what} already, which is the most; remove some, or reset")
        if sum(sizes.values()) + size > CHARACTERS:
            raise ValueError(
                f"the texts of all {self._what} would have more than {CHARACTERS:,} characters; remove some, or reset"
            )
        sizes[control.id] = size
