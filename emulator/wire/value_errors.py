"""Error texts for bodies of the admin API whose values have a wrong type: what is allowed, and what was given.

The controls, their options and every other call below /_emulator have them from here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from ..truncation import truncate

#: The length of a field's name, and of a value, in a text; what is longer is cut.
NAME_CHARACTERS, VALUE_CHARACTERS = 100, 100
_NAMES: Mapping[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a string",
}


def describe_wrong_value(error: ValidationError, model: type[BaseModel]) -> str:
    """The first error of a body in one line, such as `seconds: must be a number, not 'abc'`.

    Args:
        error: What the validation of the body has raised.
        model: The body's model.
    """
    first = error.errors(include_url=False, include_context=False)[0]
    field = model.model_fields.get(str(first["loc"][0])) if first["loc"] else None
    if first["type"] == "model_type" and not first["loc"]:
        return f"body: must be an object, not {shown(first['input'])}"
    if field is None:
        where = ".".join(truncate(str(part), NAME_CHARACTERS) for part in first["loc"]) or "body"
        return f"{where}: {first['msg']}"
    path, annotation = _innermost(first["loc"], field.annotation)
    where = ".".join(truncate(str(part), NAME_CHARACTERS) for part in path)
    allowed = allowed_values(annotation)
    if first["type"] == "missing":
        return f"{where}: is missing; it must be {allowed}"
    if first["type"] == "finite_number":
        allowed = allowed.replace("a number", "a finite number")
    return f"{where}: must be {allowed}, not {shown(first['input'])}"


def _innermost(location: tuple[Union[int, str], ...], annotation: Any) -> tuple[list[Union[int, str]], Any]:
    """The path to the value that is wrong, and its type. Behind a choice of types the location names one of them."""
    path = [location[0]]
    for part in location[1:]:
        kinds = _kinds(annotation)
        if len(kinds) != 1 or get_origin(kinds[0]) not in (list, dict):
            break
        path.append(part)
        annotation = get_args(kinds[0])[-1]
    return path, annotation


def _kinds(annotation: Any) -> list[Any]:
    """The types that an annotation allows, without None."""
    if get_origin(annotation) is not Union:
        return [annotation]
    return [one for one in get_args(annotation) if one is not type(None)]


def allowed_values(annotation: Any) -> str:
    """The values of a type, such as `a string or {"regex": a string}`."""
    return " or ".join(_allowed(one) for one in _kinds(annotation))


def _allowed(kind: Any) -> str:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        return f"one of {', '.join(map(repr, arguments))}"
    if origin is list:
        return "a list of strings" if arguments == (str,) else "a list"
    if origin is dict:
        return "an object"
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        inner = (f'"{name}": {allowed_values(field.annotation)}' for name, field in kind.model_fields.items())
        return f"{{{', '.join(inner)}}}"
    return _NAMES.get(kind, "of another type")


def shown(value: Any) -> str:
    """A value of a JSON text in an error text."""
    if value is None:
        return "null"
    return truncate(str(value).lower() if isinstance(value, bool) else repr(value), VALUE_CHARACTERS)
