"""Validation of a record's fields against the annotations of its class, and against the values that are allowed."""

from __future__ import annotations

from typing import Any, Callable, Union, get_args, get_origin

Validator = Callable[[Any], bool]


class DamagedRecord(ValueError):
    """A record is not one that an emulator writes; the text says which, and why."""


def validator(hint: Any) -> Validator:
    """Return a function that tests whether a value, its content included, has an annotated type."""
    origin, inner = get_origin(hint), [validator(arg) for arg in get_args(hint) if arg is not Ellipsis]
    if hint is Any:
        return lambda value: True
    if hint is str:
        return is_text
    if hint is int:
        return lambda value: type(value) is int and abs(value) < 1 << 63
    if hint is float:
        return is_number
    if origin is Union:
        return lambda value: any(is_valid(value) for is_valid in inner)
    if origin in (list, set):
        return lambda value: isinstance(value, origin) and all(map(inner[0], value))
    if origin is tuple:
        return lambda value: (
            isinstance(value, tuple)
            and len(value) == len(inner)
            and all(is_valid(part) for is_valid, part in zip(inner, value))
        )
    if origin is dict:
        return lambda value: (
            isinstance(value, dict) and all(map(inner[0], value)) and all(map(inner[1], value.values()))
        )
    return lambda value: isinstance(value, hint)


def is_number(value: Any) -> bool:
    """Whether a value is a number of usual size; NaN and infinity are not."""
    return type(value) in (int, float) and abs(value) < 1e15


def is_count(value: Any, limit: int = 1 << 63) -> bool:
    """Whether a value is an integer from 0 up, below `limit`."""
    return type(value) is int and 0 <= value < limit


def is_text(value: Any) -> bool:
    """Whether a value is a string that can be sent: one with a half of a surrogate pair cannot be encoded."""
    if type(value) is not str:
        return False
    try:
        return value.isascii() or bool(value.encode())
    except UnicodeEncodeError:
        return False
