"""The OpenAPI 3.1 document, made from the operations that serve and their models."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any, Literal, Optional, get_args, get_origin

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, models_json_schema
from pydantic_core import core_schema

from caged import __version__

from .operation import Model, Operation

_REF = "#/components/schemas/{model}"
_PARAMETER = re.compile(r"{(\w+)}")
_TYPES = {int: "integer", str: "string", bool: "boolean", float: "number"}
_ID: dict[str, Any] = {"type": "string", "minLength": 1}
#: What stands in paths and is no id.
_IN_PATHS: dict[str, Any] = {"port": {"type": "integer", "minimum": 1, "maximum": 65535}}
_Mode = Literal["validation", "serialization"]

_DESCRIPTION = """\
The API of the Caged platform, served by the local emulator.

Every response carries `X-Request-Id` and the `X-RateLimit-` headers. Every refusal is a problem
(`application/problem+json`), apart from that of an unknown route: 404, text/plain, `404 page not found`.
A method that a path does not have is a 405 with `Allow`. Ids in paths are percent-encoded as one segment.
Unknown keys of a request body are ignored.
"""

_HEADERS: dict[str, Any] = {
    "X-Request-Id": {
        "description": "Of this request, for asking about it",
        "required": True,
        "schema": {"type": "string", "pattern": "^req_[0-9a-f]{16}$"},
    },
    "X-RateLimit-Limit": {
        "description": "Requests per minute that the account's plan allows",
        "required": True,
        "schema": {"type": "integer", "minimum": 1},
    },
    "X-RateLimit-Remaining": {
        "description": "How many of them are left in this minute",
        "required": True,
        "schema": {"type": "integer", "minimum": 0},
    },
    "X-RateLimit-Reset": {
        "description": "When the minute ends, in seconds since the epoch",
        "required": True,
        "schema": {"type": "integer", "minimum": 0},
    },
}
_RETRY_AFTER: dict[str, Any] = {
    "description": "Seconds to wait before the next request",
    "required": True,
    "schema": {"type": "integer", "minimum": 1},
}

#: Where the answer of a call holds an id, and the resource that it is of: what the next calls may be about.
_MADE = {
    "sandboxes.create": ("/id", "/v1/sandboxes/{id}"),
    "snapshots.create": ("/id", "/v1/snapshots/{id}"),
    "account.create_key": ("/info/id", "/v1/account/keys/{id}"),
    "account.list_sessions": ("/0/id", "/v1/account/sessions/{id}"),
    "alerts.list": ("/alerts/0/id", "/v1/alerts/{id}"),
    "alerts.list_rules": ("/0/id", "/v1/alerts/rules/{id}"),
    "notifications.list": ("/notifications/0/id", "/v1/notifications/{id}"),
}


class Reason(Model):
    """Why, for programs that branch on it. `code`: plan_limit_reached, policy_denied, read_only_key,
    sandbox_not_running, invalid_state, budget_exceeded, snapshot_not_ready, file_too_large, path_outside_sandbox,
    and others. `action`, `subject_type` and `subject_id` are left out where they do not apply."""

    code: str
    message: str
    action: Optional[str]
    subject_type: Optional[str]
    subject_id: Optional[str]

    def model_dump_json(self, **_options: Any) -> str:
        return super().model_dump_json(exclude_none=True)


class Problem(Model):
    """A refusal, after RFC 7807. `detail` says what to do next. `reason` is there when a program may want to branch on
    it."""

    type: str
    title: str
    status: int
    detail: str
    reason: Optional[Reason]

    def model_dump_json(self, **_options: Any) -> str:
        return super().model_dump_json(exclude_none=True)


class DeviceProblem(Problem):
    """A refusal of device login. `error` is the word that its client reads: authorization_pending, access_denied,
    expired_token."""

    error: Optional[str]


#: Operations whose refusals hold more than others'.
_PROBLEMS: dict[str, type[Problem]] = {"auth.device_token": DeviceProblem}


class _Schemas(GenerateJsonSchema):
    def default_schema(self, schema: core_schema.WithDefaultSchema) -> dict[str, Any]:
        """Without `default: null`: that a key may be left out says as much."""
        found = super().default_schema(schema)
        if found.get("default", ...) is None:
            del found["default"]
        return found

    def model_schema(self, schema: core_schema.ModelSchema) -> dict[str, Any]:
        """As it is sent: a model with a `model_dump_json` of its own leaves out the keys that are null."""
        found = super().model_schema(schema)
        if self.mode == "serialization" and schema["cls"].model_dump_json is not BaseModel.model_dump_json:
            for name, field in found["properties"].items():
                choices = [choice for choice in field.get("anyOf", ()) if choice != {"type": "null"}]
                if len(choices) < len(field.get("anyOf", ())):
                    del field["anyOf"]
                    field.update(choices[0] if len(choices) == 1 else {"anyOf": choices})
                    found["required"] = [key for key in found.get("required", ()) if key != name]
        return found


def document(operations: Iterable[Operation]) -> dict[str, Any]:
    """The whole document, as what `json.dumps` takes. What is not emulated is not in it."""
    listed = [operation for operation in operations if operation.status != HTTPStatus.NOT_IMPLEMENTED]
    refs, schemas = _schemas(listed)
    paths: dict[str, dict[str, Any]] = {}
    for operation in listed:
        described = _described(operation, refs)
        links = _links(operation, listed)
        if links:
            described["responses"][str(operation.status)]["links"] = links
        paths.setdefault(operation.path, {})[operation.method.lower()] = described
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


def _schemas(operations: Sequence[Operation]) -> tuple[Any, dict[str, Any]]:
    """(reference by model and direction, all definitions)."""
    problems: tuple[type[BaseModel], ...] = (Problem, *_PROBLEMS.values())
    wanted: dict[tuple[type[BaseModel], _Mode], None] = {(problem, "serialization"): None for problem in problems}
    for operation in operations:
        if operation.body is not None:
            wanted[operation.body, "validation"] = None
        model = get_args(operation.reply)[0] if get_origin(operation.reply) is list else operation.reply
        if isinstance(model, type) and issubclass(model, BaseModel):
            wanted[model, "serialization"] = None
    refs, definitions = models_json_schema(list(wanted), ref_template=_REF, schema_generator=_Schemas)
    return refs, definitions["$defs"]


def _tag(operation: Operation) -> str:
    return operation.name.partition(".")[0]


def _described(operation: Operation, refs: Any) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.name,
        "tags": [_tag(operation)],
        "parameters": _parameters(operation),
        "responses": _responses(operation, refs),
    }
    if operation.handler.__doc__:
        described["description"] = operation.handler.__doc__
    if operation.body is not None:
        schema = operation.body.model_json_schema()
        described["requestBody"] = {
            "required": "required" in schema or "anyOf" in schema,
            "content": {"application/json": {"schema": refs[operation.body, "validation"]}},
        }
    if operation.upload:
        described["requestBody"] = {"required": True, "content": {operation.upload: {}}}
    if operation.public:
        described["security"] = []
    if operation.admin:
        described["security"] = [{"admin": []}]
    return described


def _parameters(operation: Operation) -> list[dict[str, Any]]:
    in_path = [
        {"name": name, "in": "path", "required": True, "schema": _IN_PATHS.get(name, _ID)}
        for name in _PARAMETER.findall(operation.path)
    ]
    in_query = []
    for name, kind in operation.query.items():
        required = name in operation.required
        schema = {"type": _TYPES[kind], **({"minLength": 1} if required and kind is str else {})}
        in_query.append({"name": name, "in": "query", "required": required, "schema": schema})
    return in_path + in_query


def _responses(operation: Operation, refs: Any) -> dict[str, Any]:
    success: dict[str, Any] = {
        "description": HTTPStatus(operation.status).phrase,
        "headers": _headers(operation.status),
    }
    content = _content(operation, refs)
    if content:
        success["content"] = content
    responses = {str(operation.status): success}
    problem = {"application/problem+json": {"schema": refs[_PROBLEMS.get(operation.name, Problem), "serialization"]}}
    for status in sorted(_refusals(operation)):
        responses[str(status)] = {
            "description": HTTPStatus(status).phrase,
            "headers": _headers(status),
            "content": dict(problem),
        }
    if "404" in responses:
        # What a path is that no route takes, such as one with an empty id.
        responses["404"]["content"]["text/plain"] = {"schema": {"type": "string"}}
    return responses


def _refusals(operation: Operation) -> set[int]:
    """403 is everybody's: a foreign Host or Origin, or a read-only key. So is 507: a state directory that cannot be
    written to."""
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


def _content(operation: Operation, refs: Any) -> Optional[dict[str, Any]]:
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
    """What can be called next with the id in this answer."""
    if operation.name not in _MADE:
        return {}
    pointer, path = _MADE[operation.name]
    return {
        following.name: {"operationId": following.name, "parameters": {"id": f"$response.body#{pointer}"}}
        for following in operations
        if following.path == path or following.path.startswith(f"{path}/")
    }
