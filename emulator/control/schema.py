"""Pydantic models that are derived from descriptions of options and from records.

The HTTP API (`wire/admin/`) and scenario files (`scenario/`) use them: types are checked here, and everything else by
the description itself.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from typing import Any, Optional, TypeVar, Union

from pydantic import BaseModel, ConfigDict, Field, create_model

from .description import Option, options_of
from .patterns import TextPattern
from .records import help_of
from .values import Files, Names, RepositorySource, RetryAfter, Text, from_json

M = TypeVar("M", bound=BaseModel)
_STRICT = ConfigDict(strict=True, extra="forbid", defer_build=True)


class Regex(BaseModel):
    """A regular expression (Python's), searched for anywhere in the text."""

    regex: str

    model_config = _STRICT


class Base64(BaseModel):
    """The content of a file that is not UTF-8 text."""

    base64: str

    model_config = _STRICT


class RetryAfterSeconds(BaseModel):
    """Seconds to wait before the next request."""

    retry_after: int

    model_config = _STRICT


#: The forms of types that JSON does not have.
_JSON_TYPES: list[tuple[Any, Any]] = [
    (TextPattern, Union[str, Regex]),
    (Text, Union[str, list[str]]),
    (Names, list[str]),
    (Files, dict[str, Union[str, Base64]]),
    (RepositorySource, Union[str, dict[str, Union[str, Base64]]]),
    (RetryAfter, Union[int, RetryAfterSeconds]),
]


def json_type(type_: Any) -> Any:
    """The type of an option's value in JSON."""
    return next((form for known, form in _JSON_TYPES if type_ == known), type_)


def options_model(
    name: str,
    description: type,
    base: type[M],
    doc: str,
    *,
    method: str = "",
    required: bool = False,
    more: Optional[Mapping[str, Any]] = None,
) -> type[M]:
    """Make the model of a control's options.

    Args:
        name: Its name in the OpenAPI document.
        description: The dataclass that describes the options.
        base: The class from which it inherits.
        doc: Its docstring.
        method: Only the options of this Python method.
        required: Whether options that the method requires are required here.
        more: Further fields: name -> (type, Field).
    """
    fields: dict[str, Any] = {
        one.name: (
            json_type(one.type) if required and one.is_required else _nullable(one),
            ... if required and one.is_required else _field(one),
        )
        for one in options_of(description, method)
    }
    return _named(create_model(name, __base__=base, **fields, **dict(more or {})), doc)


def _nullable(one: Option) -> Any:
    type_ = json_type(one.type)
    return Optional[type_] if one.default is None else type_


def _field(one: Option) -> Any:
    bounds = {"minimum": one.at_least, "exclusiveMinimum": one.above, "maximum": one.at_most}
    given = {name: bound for name, bound in bounds.items() if bound is not None}
    return Field(
        default=list(one.default) if isinstance(one.default, tuple) else one.default,
        description=one.help_text,
        json_schema_extra=(lambda schema: _bounded(schema, given)) if given else None,
    )


def _bounded(schema: dict[str, Any], bounds: Mapping[str, Any]) -> None:
    """Put bounds where the number is: in a nullable field, at its first form."""
    forms = schema.get("anyOf") or [schema]
    for form in forms:
        if form.get("type") in ("integer", "number"):
            form.update({name: int(bound) if form["type"] == "integer" else bound for name, bound in bounds.items()})


def record_model(name: str, record: type, base: type[M], doc: str = "") -> type[M]:
    """Make the model of a record, or of what the emulator reports of a control."""
    types = typing.get_type_hints(record)
    texts = help_of(record)
    fields: dict[str, Any] = {
        field.name: (types[field.name], Field(..., description=texts.get(field.name)))
        for field in dataclasses.fields(record)
    }
    return _named(create_model(name, __base__=base, **fields), doc or record.__doc__ or "")


def _named(model: type[M], doc: str) -> type[M]:
    model.__doc__ = doc
    return model


def values_in(description: type, body: BaseModel) -> dict[str, Any]:
    """The values of a description's options that a model holds.

    Raises:
        ValueError: A regular expression cannot be compiled, or a file's content is not base64.
    """
    given = body.model_dump()
    return {
        one.name: from_json(one.name, one.type, given[one.name]) for one in options_of(description) if one.name in given
    }
