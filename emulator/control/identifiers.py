"""Ids of sandboxes, accounts and other objects in arguments: a text, or an object that has one."""

from __future__ import annotations

from typing import Any, Protocol, Union


class HasId(Protocol):
    """A sandbox, an account or another object, as the SDK or an emulator returns it."""

    @property
    def id(self) -> str: ...


#: An id, or an object that has one.
IdOrObject = Union[str, HasId]


def id_of(value: Any) -> Any:
    """The id of an object that has one; another value as it is."""
    plain = isinstance(value, (str, int, float, dict, list, tuple, type(None)))
    return value if plain else getattr(value, "id", value)
