"""How an answer's JSON becomes a dataclass.

Unknown keys are ignored; an absent key, or a null, gives the field's default. A value of another type than
the field's is a `CagedError` that names the field, so the types of a model that was returned always hold.

Model modules must not use ``from __future__ import annotations``: the readers below are made from the real
annotations, and ``typing.get_type_hints`` must work although the classes say they live in ``caged``.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, Callable, Literal, TypeVar, Union, get_args, get_origin

from .._errors import CagedError
from .._json import json_type

M = TypeVar("M", bound="Model")
Reader = Callable[[Any], Any]


class Model:
    """Base of all response dataclasses."""

    @classmethod
    def from_api(cls: type[M], data: Any) -> M:
        """Build one from a decoded JSON object.

        Args:
            data: The object: a mapping with names of fields. Unknown names are ignored.

        Raises:
            CagedError: `data` is not an object, or a field has the wrong type.
        """
        if not isinstance(data, Mapping):
            raise CagedError(f"expected a JSON object for {cls.__name__}, got {json_type(data)}")
        values: dict[str, Any] = {}
        for name, read in _readers(cls):
            value = data.get(name)
            if value is None:
                continue
            try:
                values[name] = read(value)
            except (TypeError, ValueError, OverflowError):
                raise CagedError(f"{cls.__name__}.{name} cannot be {json_type(value)}") from None
        return cls(**values)

    @classmethod
    def list_from_api(cls: type[M], data: Any) -> list[M]:
        """Build a list from a decoded JSON array.

        Args:
            data: The array; None gives an empty list.

        Raises:
            CagedError: `data` is not an array, or an element is not what `from_api` takes.
        """
        if data is None:
            return []
        if not isinstance(data, (list, tuple)):
            raise CagedError(f"expected a JSON array of {cls.__name__}, got {json_type(data)}")
        return [cls.from_api(item) for item in data]


_READERS: dict[type, tuple[tuple[str, Reader], ...]] = {}


def _readers(cls: Any) -> tuple[tuple[str, Reader], ...]:
    if cls not in _READERS:
        _READERS[cls] = tuple((field.name, _reader(field.type)) for field in dataclasses.fields(cls))
    return _READERS[cls]


def _reader(kind: Any) -> Reader:
    if kind in _SCALARS:
        return _SCALARS[kind]
    origin = get_origin(kind)
    if origin is Literal:
        return _SCALARS[str]  # a set that static checkers see; the API may know more
    if origin is Union:
        return _reader(next(arm for arm in get_args(kind) if arm is not type(None)))
    if origin is dict:
        return _mapping_of(_reader(get_args(kind)[1]))
    if origin is list:
        (item,) = get_args(kind)
        if isinstance(item, type) and issubclass(item, Model):
            return item.list_from_api
        return _list_of(_reader(item))
    return kind.from_api  # type: ignore[no-any-return]


def _exactly(kind: type) -> Reader:
    def read(value: Any) -> Any:
        if not isinstance(value, kind):
            raise TypeError
        return value

    return read


def _integer(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != int(value):
        raise TypeError
    return int(value)  # 1024.0 is an integer in JSON


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError
    return float(value)


def _any_value(value: Any) -> Any:
    return value


def _mapping_of(read: Reader) -> Reader:
    def read_mapping(value: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise TypeError
        return {name: read(item) for name, item in value.items()}

    return read_mapping


def _list_of(read: Reader) -> Reader:
    def read_list(value: Any) -> list[Any]:
        if not isinstance(value, (list, tuple)):
            raise TypeError
        return [read(item) for item in value]

    return read_list


_SCALARS: dict[Any, Reader] = {
    str: _exactly(str),
    bool: _exactly(bool),
    int: _integer,
    float: _number,
    Any: _any_value,
}
