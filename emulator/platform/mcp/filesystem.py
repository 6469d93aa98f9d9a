"""The filesystem tools. They reach only /workspace. Source: docs/contract/wire-other-clients.md 7.2."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ...cage import workspace
from ...cage.file_tree import FileTree, OutsideOfSandbox
from ...cage.safe_files import Entry
from .glob import Glob, GlobError
from .protocol import shorten
from .tool import TEXT_BYTES, Tool, ToolContext, ToolError, ToolOutcome, truncate_list

SEARCH_RESULTS = 1000

_PATH = {"type": "string", "description": "A path in /workspace, absolute or relative to it."}
#: The system call that the platform's server names in the error of a tool.
_CALLS = {"read": "open", "list": "open", "search": "open", "write": "open", "mkdir": "mkdir", "delete": "unlinkat"}


@contextmanager
def _as_tool_error(context: ToolContext, verb: str, path: str) -> Iterator[None]:
    """Turn errors of the file system into the texts of the platform's server: `read error: open /workspace/x: no such
    file or directory`."""
    try:
        yield
    except OutsideOfSandbox:
        raise ToolError(f"path traversal blocked: {shorten(path)}") from None
    except OSError as error:
        full = workspace.full_path(path)
        if verb == "write" and isinstance(error, NotADirectoryError):
            # A parent is a file; the server creates the parents first, and names the one that it cannot create.
            verb, full = "mkdir", workspace.first_not_directory(FileTree(context.cage.layout, only="workspace"), full)
        call = "read" if verb == "read" and isinstance(error, IsADirectoryError) else _CALLS[verb]
        reason = error.strerror or str(error)
        raise ToolError(f"{verb} error: {call} {shorten(full)}: {reason[:1].lower()}{reason[1:]}") from None


def _record_operation(context: ToolContext, operation: str, path: str) -> None:
    context.record("file_op", {"operation": operation, "path": workspace.full_path(path)})


async def _read(context: ToolContext, arguments: dict[str, Any]) -> ToolOutcome:
    path = arguments.get("path", "")
    with _as_tool_error(context, "read", path):
        content = await context.cage.on_workspace(context.cage.workers.small, workspace.read, path, TEXT_BYTES)
    _record_operation(context, "read", path)
    return ToolOutcome(content.decode("utf-8", "replace"))


async def _list(context: ToolContext, arguments: dict[str, Any]) -> ToolOutcome:
    path = arguments.get("path") or "."
    with _as_tool_error(context, "list", path):
        entries = await context.cage.on_workspace(context.cage.workers.walk, workspace.listing, path)
    _record_operation(context, "list", path)
    return await context.cage.workers.walk.run(_listed, entries, path)


def _listed(entries: list[Entry], path: str) -> ToolOutcome:
    """Blocks when there are many."""
    lines = [f"{'d ' if entry.kind == 'directory' else '  '}{entry.size:>8}  {entry.name}" for entry in entries]
    items = [{"name": entry.name, "type": entry.kind, "size": entry.size} for entry in entries]
    return ToolOutcome("\n".join(lines), structured=truncate_list("entries", items, path=path))


async def _search(context: ToolContext, arguments: dict[str, Any]) -> ToolOutcome:
    try:
        glob = Glob(arguments["pattern"])
    except GlobError as error:
        raise ToolError(f"invalid pattern: {error}") from None
    with _as_tool_error(context, "search", "."):
        found, more = await context.cage.on_workspace(
            context.cage.workers.walk, workspace.search, glob.matches, SEARCH_RESULTS
        )
    if more:
        found.append(f"[truncated: {len(found)} matches so far; use a narrower pattern]")
    return ToolOutcome("\n".join(found) or "no matches found")


async def _write(context: ToolContext, arguments: dict[str, Any]) -> ToolOutcome:
    path, content = arguments.get("path", ""), arguments.get("content", "").encode("utf-8")
    with _as_tool_error(context, "write", path):
        await context.cage.on_workspace(context.cage.workers.small, workspace.write, path, content)
    _record_operation(context, "write", path)
    return ToolOutcome(f"wrote {len(content)} bytes to {path}")


async def _delete(context: ToolContext, arguments: dict[str, Any]) -> ToolOutcome:
    path = arguments.get("path", "")
    with _as_tool_error(context, "delete", path):
        existed = await context.cage.on_workspace(context.cage.workers.walk, workspace.delete, path)
    if existed:
        _record_operation(context, "delete", path)
    return ToolOutcome(f"deleted: {path}")


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
    {"path": {"type": "string", "description": "The directory.", "default": "."}},
    output=_LISTING,
    arguments_optional=True,
)
SEARCH = Tool(
    "filesystem_search",
    "Find files and directories of the whole workspace by name.",
    _search,
    {"pattern": {"type": "string", "description": "A glob for the name, e.g. *.py."}},
    ("pattern",),
    nonempty=("pattern",),
)
WRITE = Tool(
    "filesystem_write",
    "Write a text file; directories on the way to it are made, a file that exists is replaced.",
    _write,
    {"path": _PATH, "content": {"type": "string", "description": "The file's content."}},
    ("path", "content"),
    changes=True,
    locks_workspace=True,
)
DELETE = Tool(
    "filesystem_delete",
    "Delete a file, or a directory with all that it holds.",
    _delete,
    {"path": _PATH},
    ("path",),
    changes=True,
    locks_workspace=True,
)
