"""The JSON schema of a trace, and the tables of docs/trace-format.md, derived from the dataclasses."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator
from typing import Any, Literal, Union, get_args, get_origin

from ..control.records import help_of
from ..control.step import FORMAT, KINDS, STATUSES, Step
from .details import DETAILS, AnyDetail
from .file import TraceHeader

_NAMES: dict[Any, str] = {str: "string", bool: "boolean", int: "integer", float: "number"}


def schema() -> dict[str, Any]:
    """The JSON schema of one line of the file: the header, or a step."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"A line of a trace of caged, format {FORMAT}",
        "oneOf": [
            _object(TraceHeader, type={"const": "trace"}, format={"const": FORMAT}),
            _step(type={"const": "step"}),
        ],
    }


def step_schema() -> dict[str, Any]:
    """The JSON schema of a step as the journal answers it: without `type`."""
    return _step()


def tables() -> str:
    """The keys of the header, of a step and of each kind's detail, as Markdown."""
    parts = ["## The header\n", _table(TraceHeader), "## A step\n", _table(Step), "## Details\n"]
    parts += ["### Of any kind\n", _text(AnyDetail), _table(AnyDetail)]
    for detail in dict.fromkeys(DETAILS.values()):
        names = [f"`{kind}`" for kind, one in DETAILS.items() if one is detail]
        parts += [f"### {', '.join(names)}\n", _text(detail), _table(detail)]
    nested = dict.fromkeys(one for detail in (TraceHeader, AnyDetail, *DETAILS.values()) for one in _nested(detail))
    for record in nested:
        parts += [f"### {record.__name__}\n", _text(record), _table(record)]
    return "\n".join(parts)


# --- schemas


def _step(**more: Any) -> dict[str, Any]:
    found = _object(Step, **more)
    found["properties"]["kind"] = {"enum": list(KINDS)}
    found["properties"]["status"] = {"enum": list(STATUSES)}
    found["allOf"] = [
        {
            "if": {"properties": {"kind": {"const": kind}}},
            "then": {"properties": {"detail": _detail(detail)}},
        }
        for kind, detail in DETAILS.items()
    ]
    return found


def _detail(detail: type) -> dict[str, Any]:
    """The schema of a detail, or of what is left of one that was dropped."""
    whole, common = _object(detail), _object(AnyDetail)
    whole["properties"].update(common["properties"])
    dropped = {**whole, "required": ["dropped"]}
    return {"anyOf": [whole, dropped]}


def _object(record: type, **more: Any) -> dict[str, Any]:
    """The schema of a dataclass. A field without a default is required; the fields of a step and a header all are."""
    types, texts = typing.get_type_hints(record), _texts(record)
    properties = dict(more)
    required = list(more)
    for field in dataclasses.fields(record):
        is_optional = field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
        properties[field.name] = {**_of(types[field.name]), "description": texts[field.name]}
        if record in (Step, TraceHeader) or not is_optional:
            required.append(field.name)
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _of(type_: Any) -> dict[str, Any]:
    """The schema of a type."""
    origin, arguments = get_origin(type_), get_args(type_)
    if type_ is Any:
        return {}
    if type_ in _NAMES:
        return {"type": _NAMES[type_]}
    if dataclasses.is_dataclass(type_):
        return _object(typing.cast(type, type_))
    if origin is Union:
        forms = [_of(one) for one in arguments if one is not type(None)]
        return {"anyOf": [*forms, {"type": "null"}]} if type(None) in arguments else {"anyOf": forms}
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin is list:
        return {"type": "array", "items": _of(arguments[0])}
    if origin is tuple:
        count = len(arguments)
        return {"type": "array", "prefixItems": [_of(one) for one in arguments], "minItems": count, "maxItems": count}
    if origin is dict:
        return {"type": "object", "additionalProperties": _of(arguments[1])}
    raise TypeError(f"no schema for {type_!r}")


# --- tables


def _table(record: type) -> str:
    types, texts = typing.get_type_hints(record), _texts(record)
    rows = [f"| `{field.name}` | {_named(types[field.name])} | {texts[field.name]} |" for field in _fields(record)]
    return "\n".join(["| key | type | meaning |", "|---|---|---|", *rows, ""])


def _fields(record: type) -> Iterator[Any]:
    return iter(dataclasses.fields(record))


def _named(type_: Any) -> str:
    """A type in words."""
    origin, arguments = get_origin(type_), get_args(type_)
    if type_ is Any:
        return "any"
    if type_ in _NAMES:
        return _NAMES[type_]
    if dataclasses.is_dataclass(type_):
        return str(typing.cast(type, type_).__name__)
    if origin is Union:
        return ", ".join("null" if one is type(None) else _named(one) for one in arguments)
    if origin is Literal:
        return ", ".join(f"`{one}`" for one in arguments)
    if origin is tuple:
        return f"[{', '.join(map(_named, arguments))}]"
    return f"array of {_named(arguments[0])}" if origin is list else "object"


def _nested(record: type) -> Iterator[type]:
    """The dataclasses in a dataclass."""
    for type_ in typing.get_type_hints(record).values():
        yield from _dataclasses_in(type_)


def _dataclasses_in(type_: Any) -> Iterator[type]:
    if dataclasses.is_dataclass(type_):
        yield typing.cast(type, type_)
    for argument in get_args(type_):
        yield from _dataclasses_in(argument)


def _text(record: type) -> str:
    return " ".join((record.__doc__ or "").split("\n\n", 1)[0].split()) + "\n"


def _texts(record: type) -> dict[str, str]:
    """What each key means: of its field, or of the docstring's `Attributes`."""
    texts = {field.name: "" for field in dataclasses.fields(record)}
    _before, _mark, attributes = (record.__doc__ or "").partition("Attributes:")
    name = ""
    for line in attributes.splitlines():
        word, found, rest = line.strip().partition(": ")
        if found and word in texts:
            name, texts[word] = word, rest
        elif line.strip() and name:
            texts[name] += " " + line.strip()
    return {**texts, **help_of(record)}
