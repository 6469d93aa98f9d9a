"""The tool that runs a command (wire-other-clients.md 7.2)."""

from __future__ import annotations

from typing import Any

from ..services import mask
from ..standing_in import Chosen, choose
from .tool import TEXT_BYTES, TRUNCATED, Context, Outcome, Tool, ToolError, cut, ended, size

DEFAULT_SECONDS = 30
_ERRORS_BYTES = 128 * 1024


async def _exec(context: Context, arguments: dict[str, Any]) -> Outcome:
    command, seconds = arguments["command"], arguments.get("timeout", 0)
    if seconds <= 0:
        seconds = DEFAULT_SECONDS
    sandbox, start = context.sandbox, context.services.clock.stopwatch()
    ending, code, chosen = "killed: the client hung up", None, Chosen()
    try:
        chosen = await choose(context.services, sandbox, command)
        result = await chosen.run(sandbox, context.cage, command, TEXT_BYTES, True, seconds)
        if result.error is not None:
            ending = f"not started: {result.error}"
            raise ToolError(chosen.not_started(result.error))
        failed = "signal: killed" if result.timed_out else f"exit status {result.code}" if result.code else ""
        ending, code = failed or "exit status 0", None if result.timed_out else result.code
    finally:
        shown = mask(sandbox, command)
        shown = shown if len(shown) <= 500 else shown[:500] + " …"
        context.services.note(sandbox, f"$ {shown} (mcp, {ending})", "command")
        milliseconds = (context.services.clock.stopwatch() - start) * 1000
        data = {"command": command, "exit_code": code, "source": "mcp"}
        context.services.ran(sandbox, data, milliseconds, "mcp", stub=chosen.stub)
    output, errors = result.output.decode("utf-8", "replace"), result.errors.decode("utf-8", "replace")
    return Outcome(report(output, errors, failed, result.truncated), is_error=bool(failed))


def report(output: str, errors: str, failed: str, truncated: bool) -> str:
    """Standard output, then what came on standard error under a heading of its own, then how it ended if not well; and
    a last line when not all of it is there."""
    kept_errors = cut(errors, max(_ERRORS_BYTES, TEXT_BYTES - 1024 - size(output)))
    kept = cut(output, TEXT_BYTES - 1024 - size(kept_errors))
    truncated = truncated or len(kept) < len(output) or len(kept_errors) < len(errors)
    text = kept
    if kept_errors:
        text = f"{kept}\nSTDERR:\n{kept_errors}" if kept else f"STDERR:\n{kept_errors}"
    if failed:
        text = f"{ended(text)}exit: {failed}"
    return f"{ended(text)}{TRUNCATED}" if truncated else text


EXEC = Tool(
    "terminal_exec",
    "Run a shell command in /workspace and wait for it. There is no input, and no terminal.",
    _exec,
    {
        "command": {"type": "string", "description": "What the shell is to run.", "minLength": 1},
        "timeout": {
            "type": "integer",
            "description": "Seconds after which it is killed with all that it started.",
            "default": DEFAULT_SECONDS,
        },
    },
    ("command",),
    changes=True,
)
