"""The filesystem tools. They see /workspace and nothing else; texts and shapes: wire-other-clients.md 7.2."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ...cage import workspace
from ...cage.tree import Outside
from .glob import BadPattern, Glob
from .protocol import short
from .tool import TEXT_BYTES, Context, Outcome, Tool, ToolError, fitting_list

SEARCH_RESULTS = 1000

_PATH = {"type": "string", "description": "A path in /workspace, absolute or relative to it.", "minLength": 1}


@contextmanager
def _as_tool_error(verb: str, path: str) -> Iterator[None]:
    try:
        yield
    except Outside:
        raise ToolError(f"path traversal blocked: {short(path)}") from None
    except OSError as error:
        if verb == "write" and isinstance(error, NotADirectoryError):
            verb = "mkdir"  # it is said of a parent, and those are made on the way
        reason = error.strerror or str(error)
        raise ToolError(f"{verb} error: {short(path)}: {reason[:1].lower()}{reason[1:]}") from None


def _happened(context: Context, operation: str, path: str) -> None:
    context.happened("file_op", {"operation": operation, "path": workspace.full_path(path)})


async def _read(context: Context, arguments: dict[str, Any]) -> Outcome:
    path = arguments["path"]
    with _as_tool_error("read", path):
        content = await asyncio.to_thread(workspace.read, context.cage.layout, path, TEXT_BYTES)
    _happened(context, "read", path)
    return Outcome(content.decode("utf-8", "replace"))


async def _list(context: Context, arguments: dict[str, Any]) -> Outcome:
    path = arguments.get("path", ".")
    with _as_tool_error("list", path):
        entries = await asyncio.to_thread(workspace.listing, context.cage.layout, path)
    _happened(context, "list", path)
    lines = [f"{'d ' if entry.kind == 'directory' else '  '}{entry.size:>8}  {entry.name}" for entry in entries]
    items = [{"name": entry.name, "type": entry.kind, "size": entry.size} for entry in entries]
    return Outcome("\n".join(lines), structured=fitting_list("entries", items, path=path))


async def _search(context: Context, arguments: dict[str, Any]) -> Outcome:
    try:
        glob = Glob(arguments["pattern"])
    except BadPattern as error:
        raise ToolError(f"invalid pattern: {error}") from None
    with _as_tool_error("search", "."):
        found, more = await asyncio.to_thread(
            workspace.search, context.cage.layout, glob.matches, SEARCH_RESULTS
        )
    if more:
        found.append(f"[truncated: {len(found)} matches so far; use a narrower pattern]")
    return Outcome("\n".join(found) or "no matches found")


async def _write(context: Context, arguments: dict[str, Any]) -> Outcome:
    path, content = arguments["path"], arguments["content"].encode("utf-8")
    with _as_tool_error("write", path):
        await asyncio.to_thread(workspace.write, context.cage.layout, path, content)
    _happened(context, "write", path)
    return Outcome(f"wrote {len(content)} bytes to {path}")


async def _delete(context: Context, arguments: dict[str, Any]) -> Outcome:
    path = arguments["path"]
    with _as_tool_error("delete", path):
        existed = await asyncio.to_thread(workspace.delete, context.cage.layout, path)
    if existed:
        _happened(context, "delete", path)
    return Outcome(f"deleted: {path}")


_LISTING = {
    "type": "object",
    "properties": {
        "path": {"type": "string"},
        "entries": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "name": {"type": "string"},
                    "type": {"type": "string", "enum": ["file", "directory"]},
                    "size": {"type": "integer"},
                },
                "required": ["name", "type", "size"],
            },
        },
        "truncated": {"type": "boolean"},
    },
    "required": ["path", "entries"],
}

READ = Tool("filesystem_read", "Read a text file.", _read, {"path": _PATH}, ("path",))
LIST = Tool(
    "filesystem_list",
    "List a directory: type, size in bytes and name of every entry.",
    _list,
    {"path": {"type": "string", "description": "The directory; the workspace when left out.", "default": "."}},
    output=_LISTING,
    may_be_bare=True,
)
SEARCH = Tool(
    "filesystem_search",
    "Find files and directories of the whole workspace by name.",
    _search,
    {"pattern": {"type": "string", "description": "A glob for the name, e.g. *.py.", "minLength": 1}},
    ("pattern",),
)
WRITE = Tool(
    "filesystem_write",
    "Write a text file; directories on the way to it are made, a file that exists is replaced.",
    _write,
    {"path": _PATH, "content": {"type": "string", "description": "What the file is to hold."}},
    ("path", "content"),
    changes=True,
    holds=True,
)
DELETE = Tool(
    "filesystem_delete",
    "Delete a file, or a directory with all that it holds.",
    _delete,
    {"path": _PATH},
    ("path",),
    changes=True,
    holds=True,
)
