"""A trace as text: the timeline that the report of a failed test shows, and a summary in Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..truncation import truncate
from .file import Trace
from .outline import Outline, diff, nearest_text, text_of
from .text import counted, duration, middle_cut, money, one_line, plain, source_lines
from .timeline import NEAREST, output_lines, result, timeline, title

__all__ = ["markdown", "timeline"]

#: In the summary: characters of the error, and lines of an output, of a diff and of the timeline; files with a diff.
ERROR_CHARACTERS, SUMMARY_OUTPUT_LINES, DIFF_LINES, TIMELINE_LINES, DIFFS = 4000, 30, 40, 40, 8
#: Characters of a prompt or reply, of a command, and of a line of a diff.
PROMPT_CHARACTERS, COMMAND_CHARACTERS, DIFF_WIDTH = 1500, 400, 300


def markdown(trace: Trace) -> str:
    """A compact summary of a trace, to be pasted to a colleague or to a coding agent."""
    outline, header = Outline(trace), trace.header
    name = one_line(plain(header.title))
    blocks = [f"# {header.outcome.upper()}: {_code(name)}", ", ".join(facts(outline))]
    blocks += [
        *_error_blocks(trace),
        *_cause_blocks(outline),
        *_unused_blocks(trace),
        *_command_blocks(outline),
        *_prompt_blocks(outline),
    ]
    blocks += [*_file_blocks(outline), "## Timeline", _fenced("\n".join(timeline(trace, TIMELINE_LINES)))]
    if header.notes:
        blocks += ["## Notes", "\n".join(f"- {_escaped(one_line(plain(note)))}" for note in header.notes)]
    return "\n\n".join(blocks) + "\n"


def facts(outline: Outline) -> list[str]:
    """What a trace amounts to: duration, cost, counts."""
    header, steps = outline.trace.header, outline.steps
    failed = sum(step.status == "error" for step in steps)
    found = [f"failed in {header.phase}"] if header.phase else []
    found += [duration(header.duration_ms)] if header.duration_ms else []
    found += [money(header.cost_usd)] if header.cost_usd else []
    found += [counted(len(steps), "step"), counted(failed, "error"), counted(len(outline.sandboxes), "sandbox", "es")]
    found += [f"isolation {header.isolation}"] if header.isolation else []
    found += [f"target {header.target}"] if header.target != "emulator" else []
    return found + ([f"caged {header.version}"] if header.version else [])


def _error_blocks(trace: Trace) -> Iterator[str]:
    header = trace.header
    if not header.error and not header.error_summary:
        return
    yield "## Error"
    yield _fenced(middle_cut(plain(header.error or header.error_summary), ERROR_CHARACTERS))
    source = header.error_source or {}
    code = source_lines(source)
    if code:
        yield f"{_code(str(source.get('path', '')))}, line {source.get('line')}:"
        yield _fenced("\n".join(f"{'>' if here else ' '} {number:4} {text}" for number, text, here in code), "python")


def _cause_blocks(outline: Outline) -> Iterator[str]:
    if outline.cause is not None:
        yield f"Cause: the sandbox was {_escaped(outline.interruption_text(outline.cause))}"


def _unused_blocks(trace: Trace) -> Iterator[str]:
    if trace.header.unused:
        yield "## Set up, never triggered"
        lines = []
        for one in trace.header.unused:
            where = f", added at {_code(one.source)}" if one.source else ""
            lines.append(f"- {_code(one.described)}{where}")
            lines += [f"  - {_nearest(text)}" for text in one.nearest[:NEAREST]]
        yield "\n".join(lines)


def _nearest(text: str) -> str:
    """What came nearest to a control, as code below its label."""
    label, colon, rest = nearest_text(text).partition(": ")
    return f"{label}: {_code(rest)}" if colon else _escaped(label)


def _command_blocks(outline: Outline) -> Iterator[str]:
    step = outline.last_command
    if step is not None:
        yield "## Last command"
        took = f", {duration(step.duration_ms)}" if step.duration_ms is not None else ""
        command = truncate(text_of(step, "command") or title(step), COMMAND_CHARACTERS)
        yield f"{_code(command)}{result(step)}{took}"
        if lines := output_lines(step, SUMMARY_OUTPUT_LINES):
            yield _fenced("\n".join(lines))


def _prompt_blocks(outline: Outline) -> Iterator[str]:
    step = outline.last_prompt
    if step is not None:
        yield "## Prompt before it" if outline.last_command is not None else "## Last prompt"
        cost = step.detail.get("cost_usd")
        spent = f" ({money(cost)})" if isinstance(cost, (int, float)) and cost > 0 else ""
        yield f"{_code(text_of(step, 'agent') or 'agent')}{spent} received:"
        yield _fenced(middle_cut(plain(text_of(step, "prompt")), PROMPT_CHARACTERS).strip())
        yield "and replied:"
        yield _fenced(middle_cut(plain(text_of(step, "reply")), PROMPT_CHARACTERS).strip())


def _file_blocks(outline: Outline) -> Iterator[str]:
    changes = [change for step in outline.steps for change in outline.changes(step)]
    if not changes:
        return
    yield "## Changed files"
    for change in changes[:DIFFS]:
        name = f"{change.get('change', 'changed')} {_code(str(change.get('path', '')))}"
        note = f": {_escaped(one_line(str(change['note'])))}" if change.get("note") else ""
        yield f"{name}{note}"
        if lines := diff(change):
            more = [f"… {len(lines) - DIFF_LINES} lines more"] if len(lines) > DIFF_LINES else []
            yield _fenced("\n".join([truncate(line, DIFF_WIDTH) for line in lines[:DIFF_LINES]] + more), "diff")
    if len(changes) > DIFFS:
        yield f"{len(changes) - DIFFS} more changes are in the trace."


def _code(text: str) -> str:
    """A text as code within a line of Markdown."""
    text = one_line(plain(text))
    ticks = "`" * (_longest_ticks(text) + 1)
    return f"{ticks} {text} {ticks}" if "`" in text else f"`{text}`"


def _fenced(text: str, language: str = "") -> str:
    ticks = "`" * max(3, _longest_ticks(text) + 1)
    return f"{ticks}{language}\n{text}\n{ticks}"


def _longest_ticks(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)


def _escaped(text: str) -> str:
    """A text in which no character has a meaning in Markdown or HTML."""
    return re.sub(r"([\\`*_\[\]<>#|~])", r"\\\1", text)
