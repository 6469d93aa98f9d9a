"""The bodies of requests: reading, limits, parsing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Optional

from pydantic import ValidationError
from starlette.requests import ClientDisconnect, Request

from ..control.journal import Journal
from ..json_values import count_values, has_more_values
from ..pace import LongWorkLock, Pace
from ..platform import limits
from ..platform.errors import ApiError, invalid
from ..truncation import truncate
from .operation import Body, EmptyBody, Operation
from .value_errors import NAME_CHARACTERS, describe_wrong_value

#: Unknown keys that warnings name; the others are counted.
UNKNOWN_NAMED = 20
#: The values of a larger body are counted in pieces, so that the event loop serves other requests between them.
COUNT_AT_ONCE_BYTES = 64 * 1024


async def read_body(request: Request, operation: Operation, long_work: LongWorkLock) -> bytes:
    """Read the body of a request.

    Raises:
        ApiError: 413 for a body that is too large, 400 for one with too many values.
        ClientDisconnect: The client disconnected before the end of the body.
    """
    if operation.body is None:
        return b""
    chunks: list[bytes] = []
    size, most = 0, operation.most_bytes or limits.BODY_BYTES
    has_more = True
    while has_more:  # not by `request.stream()`, because a generator takes many times as long as a short body
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk, has_more = message.get("body", b""), message.get("more_body", False)
        size += len(chunk)
        if size > most:
            raise ApiError(413, f"the body is larger than {most // 1024**2} MiB")
        chunks.append(chunk)
    raw = b"".join(chunks)
    most = _most_values(operation)
    if len(raw) > COUNT_AT_ONCE_BYTES:
        async with Pace(long_work) as pace:
            for count in count_values(raw, most):
                if count > most:
                    raise _too_many(operation)
                await pace()
    else:
        check_values(raw, operation)
    return raw


def parse_body(raw: bytes, operation: Operation, unknown_keys: bool = True) -> Body:
    """Parse the body of a request.

    Args:
        raw: The body.
        operation: The operation.
        unknown_keys: Whether the operation ignores unknown keys.

    Raises:
        ApiError: 400 for a body that is not JSON, a wrong type, a text or list that is too long, and an unknown key
            where none is ignored.
    """
    if operation.body is None:
        return EmptyBody()
    try:
        body = operation.body.model_validate_json(raw.strip() or b"{}")
    except ValidationError as error:
        describe = describe_wrong_value if operation.admin else _describe_error
        raise invalid(describe(error, operation.body)) from None
    for name in () if unknown_keys else body.model_extra or ():
        raise invalid(f"{truncate(name, NAME_CHARACTERS)}: unknown; known are {', '.join(operation.body.model_fields)}")
    if not operation.admin:
        _check_sizes(body)
    return body


def parse_and_redact(
    raw: bytes, operation: Operation, journal: Journal, account: str, unknown_keys: bool = True
) -> Body:
    """Parse the body of a request, as `parse_body`, and redact what is secret in it in all that is recorded.

    Args:
        raw: The body.
        operation: The operation.
        journal: What redacts its secrets from now on.
        account: Id of the account whose secrets they are.
        unknown_keys: Whether the operation ignores unknown keys.

    Raises:
        ApiError: As of `parse_body`.
    """
    body = parse_body(raw, operation, unknown_keys)
    journal.redact(account, body.secret_values(), body.environment_values())
    return body


def check_values(raw: bytes, operation: Operation) -> None:
    """Reject a body with too many values with 400. `read_body` includes this check."""
    if has_more_values(raw, _most_values(operation)):
        raise _too_many(operation)


def unknown_keys(body: Body) -> Iterator[str]:
    """Yield warnings about unknown keys: one for each of the first UNKNOWN_NAMED, one for all others."""
    names = list(body.model_extra or ())
    for name in names[:UNKNOWN_NAMED]:
        yield f"unknown key {truncate(name, NAME_CHARACTERS)!r} in the body is ignored"
    if len(names) > UNKNOWN_NAMED:
        yield f"{len(names) - UNKNOWN_NAMED} more unknown keys in the body are ignored"


def _most_values(operation: Operation) -> int:
    return operation.body.most_values if operation.body is not None else 0


def _too_many(operation: Operation) -> ApiError:
    return invalid(f"body: has more than {_most_values(operation):,} values (keys, elements, objects and arrays)")


def _check_sizes(body: Body, prefix: str = "") -> None:
    """Reject a text or a list that is too long with 400, naming the field and the limit."""
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
                _check_length(value[entry], f"{name}.{truncate(entry, NAME_CHARACTERS)}", each)


def _check_length(text: str, name: str, most: Optional[int]) -> None:
    most = most or limits.TEXT_CHARACTERS
    if len(text) > most:
        raise invalid(f"{name}: has {len(text):,} characters; at most {most:,} are allowed")


def _describe_error(error: ValidationError, _model: type[Body]) -> str:
    """The first error of a request below /v1, with its field: `cpus: Input should be a valid integer`."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(truncate(str(part), NAME_CHARACTERS) for part in first["loc"] if part != "[key]") or "body"
    return f"{where}: {first['msg']}"
