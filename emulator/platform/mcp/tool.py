"""The types of the MCP tools: a tool, the context of a call, and its outcome; and the limits of a result."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from typing import Any, Callable, Optional

from ...cage.cage import Cage
from ...control.clock import Clock
from ...store import Sandbox
from ..command_stubs import CommandStubs
from ..recorder import SandboxRecorder
from .protocol import STRUCTURED_SINCE, shorten

#: A reply has to stay well below 1 MiB, at which clients disconnect (wire-contract.md 4.1). Sizes as JSON.
TEXT_BYTES = 512 * 1024
STRUCTURED_BYTES = 384 * 1024
TRUNCATED = f"[truncated: a result is at most {TEXT_BYTES // 1024} KiB]"

_TYPES: dict[str, type] = {"string": str, "integer": int, "boolean": bool, "object": dict}
_LARGEST = 2**63 - 1


class ToolError(Exception):
    """The tool failed: a result with `isError`, not a JSON-RPC error."""


@dataclass(frozen=True)
class ToolOutcome:
    """`structured` is sent only on success, and only to clients whose protocol version has it."""

    text: str
    is_error: bool = False
    structured: Optional[dict[str, Any]] = None

    def as_result(self, version: str) -> dict[str, Any]:
        """The result of `tools/call`. The platform's server leaves the key `text` out when the text is empty."""
        block = {"type": "text", "text": truncate_text(self.text)} if self.text else {"type": "text"}
        result: dict[str, Any] = {"content": [block]}
        if self.is_error:
            result["isError"] = True
        elif self.structured is not None and version >= STRUCTURED_SINCE:
            result["structuredContent"] = self.structured
        return result


@dataclass(frozen=True)
class ToolContext:
    """The sandbox that a tool is called in."""

    sandbox: Sandbox
    cage: Cage
    clock: Clock
    recorder: SandboxRecorder
    command_stubs: CommandStubs

    def record(self, kind: str, data: Mapping[str, Any], milliseconds: float = 0.0) -> None:
        """Add an event of another kind than `tool_call` to the sandbox's history."""
        self.recorder.record_event(self.sandbox, kind, {**data, "source": "mcp"}, milliseconds)


Run = Callable[[ToolContext, dict[str, Any]], Awaitable[ToolOutcome]]


@dataclass(frozen=True)
class Tool:
    """`properties`: JSON schemas by argument. `required`: the arguments that the schema lists as required; one that is
    missing nevertheless has its type's zero value. `nonempty`: the arguments without which the tool refuses to run.
    `changes`: not available to read-only keys. `locks_workspace`: no snapshot, restore or pause happens meanwhile.
    `arguments_optional`: it can be called without `arguments`."""

    name: str
    description: str
    run: Run
    properties: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    nonempty: tuple[str, ...] = ()
    output: Optional[Mapping[str, Any]] = None
    changes: bool = False
    locks_workspace: bool = False
    arguments_optional: bool = False

    def described(self, version: str) -> dict[str, Any]:
        """Return the entry of `tools/list`."""
        schema: dict[str, Any] = {"type": "object", "properties": self.properties}
        if self.required:
            schema["required"] = list(self.required)
        entry: dict[str, Any] = {"name": self.name, "description": self.description, "inputSchema": schema}
        if self.output is not None and version >= STRUCTURED_SINCE:
            entry["outputSchema"] = self.output
        return entry

    def checked(self, arguments: Any) -> dict[str, Any]:
        """Return the arguments that were given, without unknown ones. Raises ToolError for one of a wrong type."""
        if arguments is None:
            if not self.arguments_optional:
                raise ToolError("invalid arguments: unexpected end of JSON input")
            arguments = {}
        if not isinstance(arguments, dict):
            raise ToolError(f"invalid arguments: an object is needed, not {_type_name(arguments)}")
        given: dict[str, Any] = {}
        for name, schema in self.properties.items():
            value = arguments.get(name)
            if value is not None:
                _check(name, value, schema)
                given[name] = value
        for name in self.nonempty:
            if not given.get(name):
                raise ToolError(f"{name} is required")
        return given


def _check(name: str, value: Any, schema: Mapping[str, Any]) -> None:
    wanted = schema["type"]
    fits = isinstance(value, _TYPES[wanted]) and not (wanted == "integer" and isinstance(value, bool))
    if not fits:
        raise ToolError(f"invalid arguments: {name} must be of type {wanted}, not {_type_name(value)}")
    if wanted == "integer" and abs(value) > _LARGEST:
        raise ToolError(f"invalid arguments: {name} is too large a number")
    if "enum" in schema and value not in schema["enum"]:
        raise ToolError(f"invalid arguments: {name} must be one of {', '.join(schema['enum'])}")
    if wanted == "object":
        for key, text in value.items():
            if not isinstance(text, str):
                raise ToolError(
                    f"invalid arguments: {name}.{shorten(key)} must be of type string, not {_type_name(text)}"
                )
            _check_text(name, key + text)
    if wanted == "string":
        _check_text(name, value, nul=name == "content")


def _check_text(name: str, text: str, nul: bool = False) -> None:
    """Refuse half of a surrogate pair, which is not a character, and NUL, which an argument cannot contain."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise ToolError(f"invalid arguments: {name} is not valid Unicode") from None
    if "\0" in text and not nul:
        raise ToolError(f"invalid arguments: {name} must not contain a NUL character")


def _type_name(value: Any) -> str:
    kinds = {bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "an array"}
    return kinds.get(type(value), "an object")


# --- sizes


def size(value: Any) -> int:
    """The number of bytes as JSON."""
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass"))


def cut(text: str, most: int) -> str:
    """Return the longest beginning that takes at most `most` bytes as JSON."""
    if len(text) * 6 + 2 <= most:
        return text
    room, at, step = most - 2, 0, 4096
    while at < len(text) and step:
        needed = size(text[at : at + step]) - 2
        if needed <= room:
            room, at = room - needed, at + step
        else:
            step //= 2
    return text[:at]


def truncate_text(text: str) -> str:
    """Return the text, or its beginning and a last line that says that it was cut."""
    kept = cut(text, TEXT_BYTES)
    return text if len(kept) == len(text) else end_with_newline(cut(kept, TEXT_BYTES - 200)) + TRUNCATED


def end_with_newline(text: str) -> str:
    """Return the text with a newline at its end."""
    return text if not text or text.endswith("\n") else text + "\n"


def truncate_list(name: str, items: list[dict[str, Any]], more: bool = False, **fields: Any) -> dict[str, Any]:
    """Return a structured result whose list `name` has as many items as fit; `truncated` when some do not."""
    room, count = STRUCTURED_BYTES - size(fields) - 100, 0
    for item in items:
        room -= size(item) + 1
        if room < 0:
            break
        count += 1
    cut_short = {"truncated": True} if more or count < len(items) else {}
    return {**fields, name: items[:count], **cut_short}
