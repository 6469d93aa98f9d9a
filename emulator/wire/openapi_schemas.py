"""The JSON schemas of the OpenAPI document, made from the models of the operations, and the models of errors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, Optional, get_args, get_origin

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, models_json_schema
from pydantic_core import core_schema

from .operation import Model, Operation

_REF = "#/components/schemas/{model}"
_Mode = Literal["validation", "serialization"]
#: The reference to a model's schema, by (model, mode): a request body is `validation`, a response `serialization`.
SchemaRefs = Mapping[Any, dict[str, Any]]


class Reason(Model):
    """The reason of an error, for programs that branch on it. `code`: plan_limit_reached, policy_denied, read_only_key,
    sandbox_not_running, invalid_state, budget_exceeded, snapshot_not_ready, file_too_large, path_outside_sandbox,
    and others. `action`, `subject_type` and `subject_id` are absent where they do not apply."""

    code: str
    message: str
    action: Optional[str]
    subject_type: Optional[str]
    subject_id: Optional[str]

    def model_dump_json(self, **_options: Any) -> str:
        return super().model_dump_json(exclude_none=True)


class Problem(Model):
    """An error, after RFC 7807. `detail` says what to do next. `reason` is present when a program may branch on it."""

    type: str
    title: str
    status: int
    detail: str
    reason: Optional[Reason]

    def model_dump_json(self, **_options: Any) -> str:
        return super().model_dump_json(exclude_none=True)


class DeviceProblem(Problem):
    """An error of device login. `error` is the code that its client reads: authorization_pending, access_denied,
    expired_token."""

    error: Optional[str]


#: Operations whose errors have a model of their own.
PROBLEMS: dict[str, type[Problem]] = {"auth.device_token": DeviceProblem}


class _SchemaGenerator(GenerateJsonSchema):
    """Makes the JSON schemas of models."""

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> dict[str, Any]:
        """Omit `default: null`, which means no more than that the key is optional."""
        found = super().default_schema(schema)
        if found.get("default", ...) is None:
            del found["default"]
        return found

    def model_schema(self, schema: core_schema.ModelSchema) -> dict[str, Any]:
        """Describe a model as it is sent: one that overrides `model_dump_json` omits the keys that are null."""
        found = super().model_schema(schema)
        if self.mode == "serialization" and schema["cls"].model_dump_json is not BaseModel.model_dump_json:
            for name, field in found["properties"].items():
                choices = [choice for choice in field.get("anyOf", ()) if choice != {"type": "null"}]
                if len(choices) < len(field.get("anyOf", ())):
                    del field["anyOf"]
                    field.update(choices[0] if len(choices) == 1 else {"anyOf": choices})
                    found["required"] = [key for key in found.get("required", ()) if key != name]
        return found


def make_schemas(operations: Iterable[Operation]) -> tuple[SchemaRefs, dict[str, Any]]:
    """The references to schemas, by model and direction, and the schemas by name."""
    problems: tuple[type[BaseModel], ...] = (Problem, *PROBLEMS.values())
    wanted: dict[tuple[type[BaseModel], _Mode], None] = {(problem, "serialization"): None for problem in problems}
    for operation in operations:
        if operation.body is not None:
            wanted[operation.body, "validation"] = None
        model = get_args(operation.reply)[0] if get_origin(operation.reply) is list else operation.reply
        if isinstance(model, type) and issubclass(model, BaseModel):
            wanted[model, "serialization"] = None
    refs, definitions = models_json_schema(list(wanted), ref_template=_REF, schema_generator=_SchemaGenerator)
    return refs, definitions["$defs"]
