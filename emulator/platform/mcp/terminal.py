"""The tool that runs a command with `sh -c` (docs/contract/wire-other-clients.md 7.2)."""

from __future__ import annotations

import asyncio
from typing import Any, Optional

from ...cage.command_result import CommandResult
from ...cage.output import OutputWatch
from ...control.step import within
from .. import limits
from ..command_stubs import StubChoice
from ..redaction import redact_for, without_begun_secret
from .tool import TEXT_BYTES, TRUNCATED, Tool, ToolContext, ToolError, ToolOutcome, cut, end_with_newline, size

DEFAULT_SECONDS = 30
_ERRORS_BYTES = 128 * 1024

#: The names of signals in the texts of the platform's server.
_SIGNALS = {
    1: "hangup",
    2: "interrupt",
    3: "quit",
    4: "illegal instruction",
    5: "trace/breakpoint trap",
    6: "aborted",
    7: "bus error",
    8: "floating point exception",
    9: "killed",
    10: "user defined signal 1",
    11: "segmentation fault",
    12: "user defined signal 2",
    13: "broken pipe",
    14: "alarm clock",
    15: "terminated",
}


async def _exec(context: ToolContext, arguments: dict[str, Any]) -> ToolOutcome:
    command, seconds = arguments["command"], arguments.get("timeout", 0)
    if seconds <= 0:
        seconds = DEFAULT_SECONDS
    sandbox, run = context.sandbox, context.recorder.begin_command(context.sandbox, command, "mcp")
    outcome, code, choice, result = "killed: the client disconnected", None, StubChoice(), None
    reason, watch = "", OutputWatch()
    try:
        with within(run.step):
            choice = await context.command_stubs.choose(sandbox, command)
            run.near_misses = choice.near_misses
            async with context.recorder.file_changes.noting(sandbox, run.step):
                work = choice.run(sandbox, context.cage, command, TEXT_BYTES, True, seconds, posix=True, watch=watch)
                with run.showing(watch):
                    result = await work
        if result.error is not None:
            outcome = f"not started: {result.error}"
            raise ToolError(choice.not_started(result.error))
        failed = failure(result)
        outcome, code = failed or "exit status 0", None if result.timed_out else result.code
    except asyncio.CancelledError:
        reason = f"killed: the client gave up after {run.seconds:.1f} s"
        raise
    finally:
        shown = redact_for(sandbox, command, limits.LOGGED_COMMAND)
        context.recorder.log(sandbox, f"$ {shown} (mcp, {outcome})", "command")
        output, errors = _texts(result)
        printed = output + errors
        if result is None:  # what it had printed by then
            printed = without_begun_secret(sandbox, watch.text.decode("utf-8", "replace"))
        reason = reason or (outcome if code is None else "")
        run.end(code, reason=reason, printed=printed, stub=choice.stub, source="mcp")
    return ToolOutcome(report(output, errors, failed, result.truncated), is_error=bool(failed))


def _texts(result: Optional[CommandResult]) -> tuple[str, str]:
    """Standard output and standard error."""
    if result is None:
        return "", ""
    return result.output.decode("utf-8", "replace"), result.errors.decode("utf-8", "replace")


def failure(result: CommandResult) -> str:
    """How a command failed, in the words of the platform's server; empty when it succeeded."""
    if result.timed_out:
        return "signal: killed"
    if result.signal:
        return f"signal: {_SIGNALS.get(result.signal, f'signal {result.signal}')}"
    return f"exit status {result.code}" if result.code else ""


def report(output: str, errors: str, failed: str, truncated: bool) -> str:
    """Join standard output, standard error under a heading, and how the command failed, each after a newline: so a
    blank line separates it from output that ends with one. A last line says when something was cut."""
    kept_errors = cut(errors, max(_ERRORS_BYTES, TEXT_BYTES - 1024 - size(output)))
    kept = cut(output, TEXT_BYTES - 1024 - size(kept_errors))
    truncated = truncated or len(kept) < len(output) or len(kept_errors) < len(errors)
    text = kept
    if kept_errors:
        text = f"{kept}\nSTDERR:\n{kept_errors}" if kept else f"STDERR:\n{kept_errors}"
    if failed:
        text = f"{text}\nexit: {failed}" if text else f"exit: {failed}"
    return f"{end_with_newline(text)}{TRUNCATED}" if truncated else text


EXEC = Tool(
    "terminal_exec",
    "Run a command with sh -c in /workspace and wait for it. It has no input and no terminal.",
    _exec,
    {
        "command": {"type": "string", "description": "The command line."},
        "timeout": {
            "type": "integer",
            "description": "Seconds after which it is killed with all that it started.",
            "default": DEFAULT_SECONDS,
        },
    },
    ("command",),
    nonempty=("command",),
    changes=True,
)
