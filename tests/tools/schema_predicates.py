"""JSON schemas as Python functions, which decide as `jsonschema` does.

Every answer that a test receives is checked, and nearly all of them are valid: only of one that is not, `jsonschema`
has to say where. What is not compiled here is decided by `jsonschema`.
"""

from __future__ import annotations

import re
from typing import Any, Callable

from jsonschema import Draft202012Validator

Predicate = Callable[[Any], bool]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_integer(value: Any) -> bool:
    return _is_number(value) and (isinstance(value, int) or value.is_integer())


_TYPES: dict[str, Predicate] = {
    "array": lambda value: isinstance(value, list),
    "boolean": lambda value: isinstance(value, bool),
    "integer": _is_integer,
    "null": lambda value: value is None,
    "number": _is_number,
    "object": lambda value: isinstance(value, dict),
    "string": lambda value: isinstance(value, str),
}
#: They describe, and never make a value invalid.
_ANNOTATIONS = {"title", "description", "default", "components", "examples", "deprecated", "readOnly", "writeOnly"}
_OF_OBJECTS = {"properties", "required", "additionalProperties"}


class SchemaCompiler:
    """Compiles schemas that refer to the components of one document. Each component is compiled once."""

    def __init__(self, components: dict[str, Any]) -> None:
        self._components = components
        self._referenced: dict[str, Predicate] = {}

    def compile(self, schema: Any) -> Predicate:
        """Return what decides whether a value is valid."""
        if isinstance(schema, bool):
            return lambda _value: schema
        keywords = {name: value for name, value in schema.items() if name not in _ANNOTATIONS}
        if not keywords.keys() <= _KEYWORDS.keys() | _OF_OBJECTS:
            return Draft202012Validator({**schema, "components": self._components}).is_valid  # type: ignore[no-any-return]
        parts = [_KEYWORDS[name](self, value) for name, value in keywords.items() if name in _KEYWORDS]
        if keywords.keys() & _OF_OBJECTS:
            parts.append(self._object(keywords))
        if len(parts) == 1:
            return parts[0]
        return lambda value: all(part(value) for part in parts)

    def _object(self, keywords: dict[str, Any]) -> Predicate:
        known = {name: self.compile(schema) for name, schema in keywords.get("properties", {}).items()}
        others = self.compile(keywords.get("additionalProperties", True))
        required = frozenset(keywords.get("required", ()))

        def is_valid(value: Any) -> bool:
            if not isinstance(value, dict):
                return True
            if not required <= value.keys():
                return False
            return all(known.get(name, others)(item) for name, item in value.items())

        return is_valid

    def _ref(self, reference: str) -> Predicate:
        if reference not in self._referenced:
            place, kind, name = reference.rsplit("/", 2)
            if place != "#/components" or "~" in name or "%" in name:
                raise ValueError(f"reference {reference!r} is not to a component by its name")
            # Schemas may refer to themselves: they are looked up when a value is checked.
            self._referenced[reference] = lambda value: self._referenced[reference](value)
            self._referenced[reference] = self.compile(self._components[kind][name])
        return self._referenced[reference]

    def _type(self, names: Any) -> Predicate:
        if isinstance(names, str):
            return _TYPES[names]
        allowed = [_TYPES[name] for name in names]
        return lambda value: any(one(value) for one in allowed)

    def _any_of(self, schemas: list[Any]) -> Predicate:
        choices = [self.compile(schema) for schema in schemas]

        def is_valid(value: Any) -> bool:
            return any(choice(value) for choice in choices)

        return is_valid

    def _items(self, schema: Any) -> Predicate:
        item = self.compile(schema)
        return lambda value: not isinstance(value, list) or all(map(item, value))

    def _property_names(self, schema: Any) -> Predicate:
        name = self.compile(schema)
        return lambda value: not isinstance(value, dict) or all(map(name, value))

    def _enum(self, values: list[Any]) -> Predicate:
        if not all(isinstance(value, str) for value in values):
            return Draft202012Validator({"enum": values}).is_valid  # type: ignore[no-any-return]
        allowed = frozenset(values)
        return lambda value: isinstance(value, str) and value in allowed

    def _const(self, value: Any) -> Predicate:
        return self._enum([value])

    def _pattern(self, pattern: str) -> Predicate:
        search = re.compile(pattern).search
        return lambda value: not isinstance(value, str) or search(value) is not None

    def _min_length(self, least: int) -> Predicate:
        return lambda value: not isinstance(value, str) or len(value) >= least

    def _max_length(self, most: int) -> Predicate:
        return lambda value: not isinstance(value, str) or len(value) <= most

    def _minimum(self, least: float) -> Predicate:
        return lambda value: not (_is_number(value) and value < least)

    def _maximum(self, most: float) -> Predicate:
        return lambda value: not (_is_number(value) and value > most)


_KEYWORDS: dict[str, Callable[[SchemaCompiler, Any], Predicate]] = {
    "$ref": SchemaCompiler._ref,
    "type": SchemaCompiler._type,
    "anyOf": SchemaCompiler._any_of,
    "items": SchemaCompiler._items,
    "propertyNames": SchemaCompiler._property_names,
    "enum": SchemaCompiler._enum,
    "const": SchemaCompiler._const,
    "pattern": SchemaCompiler._pattern,
    "minLength": SchemaCompiler._min_length,
    "maxLength": SchemaCompiler._max_length,
    "minimum": SchemaCompiler._minimum,
    "maximum": SchemaCompiler._maximum,
}
