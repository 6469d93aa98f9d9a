"""A compiled schema decides as `jsonschema` does."""

from __future__ import annotations

from typing import Any

import conformance
from cases import each
from jsonschema import Draft202012Validator
from schema_predicates import SchemaCompiler

COMPONENTS: dict[str, Any] = {
    "schemas": {
        "Name": {"type": "string", "minLength": 1},
        "Tree": {
            "type": "object",
            "properties": {"a": {"$ref": "#/components/schemas/Name"}, "b": {"$ref": "#/components/schemas/Tree"}},
            "required": ["a"],
            "additionalProperties": False,
        },
    }
}
SCALARS = [None, True, False, 0, 1, -1, 2, 1.0, 1.5, float("inf"), float("nan"), "", "a", "ab", "abc", "1"]
VALUES = [
    *SCALARS,
    [],
    {},
    *([value] for value in SCALARS),
    ["a", None],
    *({"a": value} for value in SCALARS),
    {"b": "a"},
    {"a": "a", "b": "a"},
    {"a": "a", "b": {}},
    {"a": "a", "b": {"a": "a"}},
    {"a": "a", "b": {"a": "a", "c": 1}},
    {"ab": 1},
]
SCHEMAS: list[Any] = [
    True,
    False,
    {},
    {"title": "only a title"},
    *({"type": name} for name in ("array", "boolean", "integer", "null", "number", "object", "string")),
    {"type": ["string", "null"]},
    {"const": "a"},
    {"const": 1},
    {"const": None},
    {"enum": ["a", "ab"]},
    {"enum": ["a", 1, None]},
    {"pattern": "^a.$"},
    {"minLength": 2},
    {"maxLength": 1},
    {"minimum": 1},
    {"maximum": 1},
    {"exclusiveMinimum": 1},
    {"type": "integer", "minimum": 0, "maximum": 1},
    {"anyOf": [{"type": "string", "maxLength": 1}, {"type": "null"}]},
    {"items": {"type": "string"}},
    {"type": "array", "items": {"anyOf": [{"type": "integer"}, {"type": "null"}]}},
    {"items": False},
    {"properties": {"a": {"type": "string"}}},
    {"required": ["a"]},
    {"required": ["a", "b"]},
    {"additionalProperties": {"type": "integer"}},
    {"additionalProperties": False},
    {"type": "object", "properties": {"a": {}}, "additionalProperties": {"type": "string"}},
    {"propertyNames": {"maxLength": 1}},
    {"$ref": "#/components/schemas/Name"},
    {"$ref": "#/components/schemas/Tree", "properties": {"b": {"required": ["a"]}}},
    {"if": {"type": "string"}, "then": {"$ref": "#/components/schemas/Name"}},
    {"properties": {"a": {"not": {"type": "string"}}}},
    {"minItems": 1, "items": {"type": "string"}},
]


@each("schema", SCHEMAS)
def test_compiled_schema_decides_as_jsonschema_does(schema: Any) -> None:
    compiled = SchemaCompiler(COMPONENTS).compile(schema)
    judge = Draft202012Validator(schema if isinstance(schema, bool) else {**schema, "components": COMPONENTS})
    for value in VALUES:
        assert compiled(value) == judge.is_valid(value), value


def test_every_component_of_the_document_compiles() -> None:
    components = conformance.described()["components"]
    compiler = SchemaCompiler(components)
    for name in components["schemas"]:
        compiler.compile({"$ref": f"#/components/schemas/{name}"})
