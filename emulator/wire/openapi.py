"""The OpenAPI 3.1 document, made from the operations and their models."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any, Optional, get_args, get_origin

from caged import __version__

from .openapi_schemas import PROBLEMS, Problem, SchemaRefs, make_schemas
from .operation import Operation

_PARAMETER = re.compile(r"{(\w+)}")
_TYPES = {int: "integer", str: "string", bool: "boolean", float: "number"}
_ID: dict[str, Any] = {"type": "string", "minLength": 1}
#: The schemas of path parameters that are not ids.
_PATH_SCHEMAS: dict[str, Any] = {"port": {"type": "integer", "minimum": 1, "maximum": 65535}}

_DESCRIPTION = """\
The API of the Caged platform, served by the local emulator.

Every response has `X-Request-Id` and the `X-RateLimit-` headers. Every error is a problem
(`application/problem+json`), except for an unknown route: 404, text/plain, `404 page not found`.
A method that a path does not have is a 405 with `Allow`. Ids in paths are percent-encoded as one segment.
Unknown keys of a request body are ignored.
"""

_HEADERS: dict[str, Any] = {
    "X-Request-Id": {
        "description": "The id of this request",
        "required": True,
        "schema": {"type": "string", "pattern": "^req_[0-9a-f]{16}$"},
    },
    "X-RateLimit-Limit": {
        "description": "The number of requests per minute that the account's plan allows",
        "required": True,
        "schema": {"type": "integer", "minimum": 1},
    },
    "X-RateLimit-Remaining": {
        "description": "The number of requests that are left in this minute",
        "required": True,
        "schema": {"type": "integer", "minimum": 0},
    },
    "X-RateLimit-Reset": {
        "description": "The end of the minute, in seconds since the epoch",
        "required": True,
        "schema": {"type": "integer", "minimum": 0},
    },
}
_RETRY_AFTER: dict[str, Any] = {
    "description": "Seconds to wait before the next request",
    "required": True,
    "schema": {"type": "integer", "minimum": 1},
}

#: For operations whose response holds an id that other operations take: the JSON pointer to the id, and their path.
_LINKED = {
    "sandboxes.create": ("/id", "/v1/sandboxes/{id}"),
    "snapshots.create": ("/id", "/v1/snapshots/{id}"),
    "account.create_key": ("/info/id", "/v1/account/keys/{id}"),
    "account.list_sessions": ("/0/id", "/v1/account/sessions/{id}"),
    "alerts.list": ("/alerts/0/id", "/v1/alerts/{id}"),
    "alerts.list_rules": ("/0/id", "/v1/alerts/rules/{id}"),
    "notifications.list": ("/notifications/0/id", "/v1/notifications/{id}"),
}


def document(operations: Iterable[Operation]) -> dict[str, Any]:
    """Make the document, as JSON values. Operations that are not implemented are not in it."""
    listed = [operation for operation in operations if operation.status != HTTPStatus.NOT_IMPLEMENTED]
    refs, schemas = make_schemas(listed)
    paths: dict[str, dict[str, Any]] = {}
    for operation in listed:
        description = _describe(operation, refs)
        links = _links(operation, listed)
        if links:
            description["responses"][str(operation.status)]["links"] = links
        paths.setdefault(operation.path, {})[operation.method.lower()] = description
    return {
        "openapi": "3.1.0",
        "info": {"title": "Caged", "version": __version__, "description": _DESCRIPTION},
        "servers": [{"url": "/"}],
        "tags": [{"name": tag} for tag in dict.fromkeys(_tag(operation) for operation in listed)],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "headers": {**_HEADERS, "Retry-After": _RETRY_AFTER},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "`Authorization: Bearer <API key>`"},
                "admin": {"type": "http", "scheme": "bearer", "description": "`Authorization: Bearer <admin key>`"},
            },
        },
        "security": [{"bearer": []}],
    }


def _tag(operation: Operation) -> str:
    return operation.name.partition(".")[0]


def _describe(operation: Operation, refs: SchemaRefs) -> dict[str, Any]:
    description: dict[str, Any] = {
        "operationId": operation.name,
        "tags": [_tag(operation)],
        "parameters": _parameters(operation),
        "responses": _responses(operation, refs),
    }
    if operation.handler.__doc__:
        description["description"] = inspect.cleandoc(operation.handler.__doc__)  # the same on each Python
    if operation.body is not None:
        schema = operation.body.model_json_schema()
        description["requestBody"] = {
            "required": "required" in schema or "anyOf" in schema,
            "content": {"application/json": {"schema": refs[operation.body, "validation"]}},
        }
    if operation.upload:
        description["requestBody"] = {"required": True, "content": {operation.upload: {}}}
    if operation.public:
        description["security"] = []
    if operation.admin:
        description["security"] = [{"admin": []}]
    return description


def _parameters(operation: Operation) -> list[dict[str, Any]]:
    in_path = [
        {"name": name, "in": "path", "required": True, "schema": _PATH_SCHEMAS.get(name, _ID)}
        for name in _PARAMETER.findall(operation.path)
    ]
    in_query = []
    for name, kind in operation.query.items():
        required = name in operation.required
        schema = {"type": _TYPES[kind], **({"minLength": 1} if required and kind is str else {})}
        in_query.append({"name": name, "in": "query", "required": required, "schema": schema})
    return in_path + in_query


def _responses(operation: Operation, refs: SchemaRefs) -> dict[str, Any]:
    success: dict[str, Any] = {
        "description": HTTPStatus(operation.status).phrase,
        "headers": _headers(operation.status),
    }
    content = _content(operation, refs)
    if content:
        success["content"] = content
    responses = {str(operation.status): success}
    problem = {"application/problem+json": {"schema": refs[PROBLEMS.get(operation.name, Problem), "serialization"]}}
    for status in sorted(_error_statuses(operation)):
        responses[str(status)] = {
            "description": HTTPStatus(status).phrase,
            "headers": _headers(status),
            "content": dict(problem),
        }
    if "404" in responses:
        # The response to a path without a route, such as one with an empty id.
        responses["404"]["content"]["text/plain"] = {"schema": {"type": "string"}}
    return responses


def _error_statuses(operation: Operation) -> set[int]:
    """The statuses of an operation's errors.

    Every operation has 403, for a foreign Host or Origin or a read-only key, and 507, for a state directory that cannot
    be written to.
    """
    statuses = {403, 507, *operation.errors}
    if not operation.public:
        statuses |= {401, 429}
    if operation.body is not None:
        statuses |= {400, 413}
    if operation.query:
        statuses.add(400)
    if _PARAMETER.search(operation.path):
        statuses.add(404)
    return statuses


def _headers(status: int) -> dict[str, Any]:
    names = [*_HEADERS, "Retry-After"] if status == 429 else list(_HEADERS)
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _content(operation: Operation, refs: SchemaRefs) -> Optional[dict[str, Any]]:
    reply = operation.reply
    if reply is None:
        return None
    if reply is str:
        return {"text/plain": {"schema": {"type": "string"}}}
    if reply is bytes:
        return {operation.media: {}}
    if reply is dict:
        return {"application/json": {"schema": {"type": "object"}}}
    if get_origin(reply) is list:
        items = refs[get_args(reply)[0], "serialization"]
        return {"application/json": {"schema": {"type": "array", "items": items}}}
    return {"application/json": {"schema": refs[reply, "serialization"]}}


def _links(operation: Operation, operations: Sequence[Operation]) -> dict[str, Any]:
    """The operations that take the id in an operation's response."""
    if operation.name not in _LINKED:
        return {}
    pointer, path = _LINKED[operation.name]
    return {
        following.name: {"operationId": following.name, "parameters": {"id": f"$response.body#{pointer}"}}
        for following in operations
        if following.path == path or following.path.startswith(f"{path}/")
    }
