"""The git tools. git runs in the sandbox, with its settings, and its output is the result
(docs/contract/wire-other-clients.md 7.2).

Of `git_push` only the name is known. Its arguments are ours: remote, branch and set_upstream.
"""

from __future__ import annotations

import re
import shlex
from typing import Any

from ...cage.command_result import CommandResult
from .tool import TEXT_BYTES, Tool, ToolContext, ToolError, ToolOutcome, truncate_list

#: The longest run of git: a hook or a remote may hang.
SECONDS = 120
DEFAULT_COUNT = 10
_MESSAGE_BYTES = 100_000  # the kernel takes at most 128 KiB in one argument
_MOST = 2**31 - 1

#: No prompt for a password, no pager, no editor, and not the host's own settings.
_ENV = {
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_PAGER": "cat",
    "GIT_EDITOR": "true",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_SSH_COMMAND": "ssh -o BatchMode=yes",
}
_NOTHING = "(no output)"


async def _git(context: ToolContext, *words: str, separate: bool = False) -> CommandResult:
    """Run git, and return the result of one that succeeded. `separate`: standard output without standard error. Raises
    ToolError with the whole output of one that failed, in the order in which git wrote it."""
    start = context.clock.stopwatch()
    sandbox = context.sandbox
    result = await context.cage.program(
        ["/usr/bin/env", "git", *words], {**sandbox.env, **_ENV}, TEXT_BYTES, separate, SECONDS
    )
    if result.error is not None:
        raise ToolError(f"git could not be started: {result.error}")
    if result.timed_out:
        raise ToolError(f"git {words[0]} was killed: it took longer than {SECONDS} s")
    if result.code == 127:
        raise ToolError("there is no git in this sandbox")
    if words[0] in ("commit", "push"):
        milliseconds = (context.clock.stopwatch() - start) * 1000
        context.record("command", {"command": shlex.join(["git", *words]), "exit_code": result.code}, milliseconds)
    if result.code != 0:
        raise ToolError(_text(result) or f"git {words[0]} ended with exit status {result.code}")
    return result


def _text(result: CommandResult) -> str:
    """The output; for a failed run with `separate`, in which standard output is mostly empty, both."""
    return (result.output + (result.errors if result.code else b"")).decode("utf-8", "replace")


def _lines(result: CommandResult) -> list[str]:
    """Complete lines only."""
    lines = _text(result).split("\n")
    return lines[:-1]


async def _status(context: ToolContext, arguments: dict[str, Any]) -> ToolOutcome:
    result = await _git(context, "status", "--porcelain=v1", separate=True)
    files = [_changed(line) for line in _lines(result) if len(line) > 3]
    structured = truncate_list("files", files, result.truncated, clean=not files)
    return ToolOutcome(_text(result) or _NOTHING, structured=structured)


def _changed(line: str) -> dict[str, Any]:
    """A line of the short format: two letters, a path, and for a rename the path before it."""
    found = _PATHS.fullmatch(line[3:])
    first, second = found.groups() if found else (line[3:], None)
    file = {"path": _unquoted(second or first), "index": line[0], "workTree": line[1]}
    return {**file, "renamedFrom": _unquoted(first)} if second else file


#: git quotes a path with anything unusual in it, a space included, so an arrow outside quotes is one.
_QUOTED = r'"(?:[^"\\]|\\.)*"'
_PATHS = re.compile(rf"({_QUOTED}|[^ ]*)(?: -> ({_QUOTED}|[^ ]*))?")
_ESCAPE = re.compile(rb"\\([0-7]{3}|.)")
_LETTERS = {b"a": b"\a", b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}


def _unquoted(path: str) -> str:
    if not path.startswith('"'):
        return path
    raw = path[1:-1].encode("utf-8")
    plain = _ESCAPE.sub(
        lambda found: bytes([int(found[1], 8) & 255]) if len(found[1]) == 3 else _LETTERS.get(found[1], found[1]), raw
    )
    return plain.decode("utf-8", "replace")


async def _diff(context: ToolContext, arguments: dict[str, Any]) -> ToolOutcome:
    staged = ["--cached"] if arguments.get("staged", False) else []
    result = await _git(context, "diff", "--no-color", "--no-ext-diff", *staged, separate=True)
    return ToolOutcome(_text(result) or _NOTHING)


async def _log(context: ToolContext, arguments: dict[str, Any]) -> ToolOutcome:
    count = arguments.get("count", 0)
    count = min(count, _MOST) if count > 0 else DEFAULT_COUNT
    result = await _git(context, "log", "--oneline", "--no-color", "--no-decorate", f"-n{count}", separate=True)
    commits = [dict(zip(("sha", "subject"), line.partition(" ")[::2])) for line in _lines(result)]
    return ToolOutcome(_text(result), structured=truncate_list("commits", commits, result.truncated))


async def _commit(context: ToolContext, arguments: dict[str, Any]) -> ToolOutcome:
    message = arguments["message"]
    if len(message.encode("utf-8")) > _MESSAGE_BYTES:
        raise ToolError(f"the message is larger than {_MESSAGE_BYTES} bytes")
    await _git(context, "add", "-A")
    return ToolOutcome(_text(await _git(context, "commit", "-m", message)))


async def _push(context: ToolContext, arguments: dict[str, Any]) -> ToolOutcome:
    remote, branch = arguments.get("remote", "origin"), arguments.get("branch", "HEAD")
    for name, value in (("remote", remote), ("branch", branch)):
        if not value or value.startswith("-"):
            raise ToolError(f"invalid arguments: {name} must be a name, not {value[:100]!r}")
    remote = context.cage.layout.to_host_text(remote)  # it may be a path of the sandbox
    upstream = ["--set-upstream"] if arguments.get("set_upstream", False) else []
    return ToolOutcome(_text(await _git(context, "push", *upstream, "--", remote, branch)) or _NOTHING)


def _listed(name: str, properties: dict[str, Any], required: list[str], **more: Any) -> dict[str, Any]:
    items = {"type": "object", "properties": properties, "required": required}
    known = {name: {"type": "array", "items": items}, "truncated": {"type": "boolean"}, **more}
    return {"type": "object", "properties": known, "required": [name, *more]}


_TEXT = {"type": "string"}
_FILES = {"path": _TEXT, "index": _TEXT, "workTree": _TEXT, "renamedFrom": _TEXT}

STATUS = Tool(
    "git_status",
    "What has changed in the work tree, in git's short format.",
    _status,
    output=_listed("files", _FILES, ["path", "index", "workTree"], clean={"type": "boolean"}),
    arguments_optional=True,
)
DIFF = Tool(
    "git_diff",
    "The changes that are not staged, or those that are.",
    _diff,
    {"staged": {"type": "boolean", "description": "The staged changes.", "default": False}},
    arguments_optional=True,
)
LOG = Tool(
    "git_log",
    "The newest commits, one line each.",
    _log,
    {"count": {"type": "integer", "description": "How many.", "default": DEFAULT_COUNT}},
    output=_listed("commits", {"sha": _TEXT, "subject": _TEXT}, ["sha", "subject"]),
    arguments_optional=True,
)
COMMIT = Tool(
    "git_commit",
    "Stage everything and commit it.",
    _commit,
    {"message": {"type": "string", "description": "The commit's message."}},
    ("message",),
    nonempty=("message",),
    changes=True,
)
PUSH = Tool(
    "git_push",
    "Push a branch to a remote. Credentials have to be in the sandbox: git is not allowed to ask.",
    _push,
    {
        "remote": {"type": "string", "description": "Its name or URL.", "default": "origin"},
        "branch": {"type": "string", "description": "What to push; the current branch when left out."},
        "set_upstream": {"type": "boolean", "description": "Remember it for later.", "default": False},
    },
    changes=True,
    arguments_optional=True,
)
