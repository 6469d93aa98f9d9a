"""Bodies of requests: read, bounded, parsed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Optional

from pydantic import ValidationError
from starlette.requests import Request

from ..json_values import count_values, has_more_values
from ..pace import Pace, Turns
from ..platform import limits
from ..platform.errors import ApiError, invalid
from .operation import Body, NoBody, Operation

#: Of an unknown key, and of the place of a fault, in an error or a warning.
NAME_CHARACTERS = 100
#: Unknown keys that are named in warnings; the others are counted.
UNKNOWN_NAMED = 20
#: The values of a larger body are counted in pieces.
COUNTED_AT_ONCE = 64 * 1024


async def read_body(request: Request, operation: Operation, turns: Turns) -> bytes:
    """The body, when it is not too large and has not too many values. Raises Refusal (413, 400), ClientDisconnect."""
    if operation.body is None:
        return b""
    chunks: list[bytes] = []
    size, most = 0, operation.most_bytes or limits.BODY_BYTES
    async for chunk in request.stream():
        size += len(chunk)
        if size > most:
            raise ApiError(413, f"the body is larger than {most // 1024**2} MiB")
        chunks.append(chunk)
    raw = b"".join(chunks)
    most = _most_values(operation)
    if len(raw) > COUNTED_AT_ONCE:
        async with Pace(turns) as pace:
            for count in count_values(raw, most):
                if count > most:
                    raise _too_many(operation)
                await pace()
    else:
        check_values(raw, operation)
    return raw


def parse_body(raw: bytes, operation: Operation, unknown_keys: bool = True) -> Body:
    """400 for what is not JSON or not of the right types, for what is too long, and for unknown keys where they are not
    taken."""
    if operation.body is None:
        return NoBody()
    try:
        body = operation.body.model_validate_json(raw.strip() or b"{}")
    except ValidationError as error:
        raise invalid(_describe(error)) from None
    for name in () if unknown_keys else body.model_extra or ():
        raise invalid(f"{_named(name)}: unknown; known are {', '.join(operation.body.model_fields)}")
    if not operation.admin:
        _check_sizes(body)
    return body


def check_values(raw: bytes, operation: Operation) -> None:
    """400 for a body with too many values that was not read by `read_body`."""
    if has_more_values(raw, _most_values(operation)):
        raise _too_many(operation)


def unknown_keys(body: Body) -> Iterator[str]:
    """A warning for each key that the call does not know; the first UNKNOWN_NAMED of them by name."""
    names = list(body.model_extra or ())
    for name in names[:UNKNOWN_NAMED]:
        yield f"unknown key {_named(name)!r} in the body is ignored"
    if len(names) > UNKNOWN_NAMED:
        yield f"{len(names) - UNKNOWN_NAMED} more unknown keys in the body are ignored"


def _named(name: str) -> str:
    return name if len(name) <= NAME_CHARACTERS else f"{name[:NAME_CHARACTERS]}…"


def _most_values(operation: Operation) -> int:
    return operation.body.most_values if operation.body is not None else 0


def _too_many(operation: Operation) -> ApiError:
    return invalid(f"body: has more than {_most_values(operation):,} values (keys, elements, objects and arrays)")


def _check_sizes(body: Body, prefix: str = "") -> None:
    """400 for a text or a list that is too long, naming the field and the limit."""
    for name in type(body).model_fields:
        value = getattr(body, name)
        if value is not None:
            _check_size(value, f"{prefix}{name}", body.sizes.get(name), body.sizes.get(f"{name}[]"))


def _check_size(value: Any, name: str, most: Optional[int], each: Optional[int]) -> None:
    if isinstance(value, str):
        _check_length(value, name, most)
    elif isinstance(value, Body):
        _check_sizes(value, f"{name}.")
    elif isinstance(value, (list, dict)):
        most = most or limits.LIST_ENTRIES
        if len(value) > most:
            raise invalid(f"{name}: has {len(value):,} entries; at most {most:,} are allowed")
        for index, entry in enumerate(value):
            if isinstance(entry, Body):
                _check_sizes(entry, f"{name}.{index}.")
            elif isinstance(entry, str):
                _check_length(entry, f"{name}.{index}" if isinstance(value, list) else f"{name}, a key", each)
            if isinstance(value, dict) and isinstance(value[entry], str):
                _check_length(value[entry], f"{name}.{_named(entry)}", each)


def _check_length(text: str, name: str, most: Optional[int]) -> None:
    most = most or limits.TEXT_CHARACTERS
    if len(text) > most:
        raise invalid(f"{name}: has {len(text):,} characters; at most {most:,} are allowed")


def _describe(error: ValidationError) -> str:
    """The first fault, naming its field: `cpus: Input should be a valid integer`."""
    fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(_named(str(part)) for part in fault["loc"] if part != "[key]") or "body"
    return f"{where}: {fault['msg']}"
