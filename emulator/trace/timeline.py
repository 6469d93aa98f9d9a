"""The timeline of a trace: its steps in a few lines of plain text, as the report of a failed test shows them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Optional

from ..control.faults import default_detail
from ..control.step import Step
from ..truncation import truncate
from .file import Trace
from .outline import Outline, nearest_text, output_of, text_of
from .text import duration, money, one_line, plain

#: Characters of a line.
WIDTH = 140
#: Characters of a title in it.
TITLE_WIDTH = 80
#: Characters of the reason why a step failed.
REASON_WIDTH = 100
#: The status of a request whose client disconnected before it was answered. It is a status of no answer.
CLIENT_GAVE_UP = 499
#: Characters of a line of output, before it is a line of the timeline.
OUTPUT_WIDTH = 400
#: Lines of output below the last command, and below the last failed command before it.
OUTPUT_LINES, EARLIER_OUTPUT_LINES = 8, 4
#: Warnings below a request that failed.
WARNINGS = 2
#: Controls that never applied which are named, and near misses of each.
UNUSED, NEAREST = 5, 2


def timeline(trace: Trace, lines: int = 40, labels: Optional[Mapping[str, str]] = None) -> list[str]:
    """The steps of a trace in a few lines of plain text, for a terminal.

    The steps that explain most are kept when there are too many: errors, steps that a fault, stub or reply applied
    to, prompts, and the last commands with the end of their output. Controls that never applied come last.

    Args:
        trace: The trace.
        lines: The most lines, at least 1.
        labels: What stands before the line of each step, by its id; nothing by default.

    Returns:
        The lines, without line breaks and escape sequences. `!` marks a step that failed.
    """
    outline = Outline(trace)
    unused = _unused_lines(trace, max(0, lines // 3))
    entries = _entries(outline)
    _add_outputs(outline, entries, max(0, (lines - len(unused)) // 3))
    kept = _chosen(entries, lines - len(unused))
    if labels is not None:
        _add_labels(kept, labels)
    shown: list[str] = []
    for entry in kept:
        shown += entry.lines
    return [_cut(line) for line in shown[: lines - len(unused)] + unused]


def step_line(outline: Outline, step: Step) -> str:
    """The line of a step, as the timeline shows it, without indentation."""
    return _cut(_line(outline, step, 0))


def _add_labels(entries: list[_Entry], labels: Mapping[str, str]) -> None:
    width = max(map(len, labels.values()), default=0)
    for entry in entries:
        label = labels.get(entry.step.id, "") if entry.step is not None else ""
        entry.text = f"{label:{width}} {entry.text}"
        entry.below = [f"{'':{width}} {line}" for line in entry.below]


@dataclass
class _Entry:
    """A line of the timeline, with the lines below it."""

    text: str
    weight: float
    step: Optional[Step] = None
    below: list[str] = field(default_factory=list)
    times: int = 1

    @property
    def lines(self) -> list[str]:
        """The line with those below it."""
        return [f"{self.text} (x{self.times})" if self.times > 1 else self.text, *self.below]


def _entries(outline: Outline) -> list[_Entry]:
    """All steps but those that another line stands for."""
    entries: list[_Entry] = []
    hidden_above: dict[int, int] = {}
    last_key: object = None
    for step, depth in outline.walk():
        parent = outline.parent(step)
        hidden = hidden_above.get(id(parent), 0)
        if _is_covered(outline, step):
            hidden_above[id(step)] = hidden + 1
            continue
        hidden_above[id(step)] = hidden
        key = (step.kind, step.title, step.status, step.sandbox, depth, tuple(step.controls))
        has_children = any(not _is_covered(outline, child) for child in outline.children(step))
        if key == last_key and not has_children and step.kind in ("request", "call"):
            entries[-1].times += 1
            continue
        last_key = None if has_children else key
        entries.append(_Entry(_line(outline, step, depth - hidden), _weight(outline, step), step, _warnings(step)))
    return entries


def _warnings(step: Step) -> list[str]:
    """Lines with the warnings of a request that failed, which often say why."""
    warnings = step.detail.get("warnings") if step.kind == "request" and step.status == "error" else None
    shown = warnings[:WARNINGS] if isinstance(warnings, list) else []
    return [f"{'':11}! {one_line(plain(str(warning)))}" for warning in shown]


def _is_covered(outline: Outline, step: Step) -> bool:
    """Whether the line of another step says all that the line of this one would: a request whose call or command is
    shown, or a call whose command is."""
    if outline.is_applied(step) or step.kind not in ("request", "call"):
        return False
    reason = text_of(step, "error")
    if step.status == "error" and not reason:
        return False
    parent = outline.parent(step)
    is_said = step.status != "error" or (
        parent is not None and reason in text_of(parent, "error") and not _warnings(step)
    )
    if step.kind == "request" and parent is not None and parent.kind == "call" and is_said:
        return True
    below = outline.children(step)
    if step.kind == "call":
        below = [child for request in below for child in outline.children(request)]
    commands = [child for child in below if child.kind == "command"]
    if step.status == "error":
        return any(reason == text_of(command, "error") for command in commands)
    return bool(commands)


def _weight(outline: Outline, step: Step) -> float:
    """How much the line of a step explains."""
    if step.status == "error" or outline.is_applied(step) or step.kind in ("prompt", "error"):
        return 4
    if step.kind in ("command", "alert", "test"):
        return 3
    if step.kind == "sandbox":
        return 2.5
    return {"call": 2, "file": 1.5, "request": 1, "control": 1}.get(step.kind, 0)


def _line(outline: Outline, step: Step, depth: int) -> str:
    indent = "  " * min(depth, 8)
    parts = [f"{truncate(title(step), TITLE_WIDTH)}{result(step)}"]
    if step.kind == "control":
        parts += [outline.described(control) for control in step.controls]
    parts += [f"<- {outline.described(control)}" for control in step.controls if outline.is_applied(step)]
    ends = []
    line = outline.line_number(step)
    if line and step.kind in ("call", "command"):
        ends.append(f"(line {line})")
    if step.sandbox and len(outline.sandboxes) > 1 and step.sandbox not in step.title:
        ends.append(f"[{step.sandbox}]")
    if step.duration_ms:
        ends.append(duration(step.duration_ms))
    mark = "!" if step.status == "error" else " "
    begin, end = f"{outline.seconds(step):8.3f} {mark} {indent}", "".join(f"  {one}" for one in ends)
    # A line is cut in its middle: its end has the line of the test and the duration. One more character is the mark.
    return f"{begin}{truncate('  '.join(parts), max(20, WIDTH - len(begin) - len(end) - 1))}{end}"


def title(step: Step) -> str:
    """The title of a step in one line, without escape sequences."""
    return one_line(plain(step.title)) or step.kind


def result(step: Step) -> str:
    """What became of a step, to follow its title: ` -> exit 1`, ` -> 503`; empty where there is nothing to say."""
    if step.status == "running":
        return " (did not end)"
    detail = step.detail
    if step.kind == "prompt":
        reply, cost = one_line(plain(text_of(step, "reply"))), detail.get("cost_usd")
        words = [truncate(reply, 60)] if reply else []
        words += [f"exit {detail['exit_code']}"] if detail.get("exit_code") not in (0, None) else []
        words += [money(cost)] if isinstance(cost, (int, float)) and cost > 0 else []
        return f" -> {', '.join(words)}" if words else ""
    if step.kind == "command" and detail.get("exit_code") is not None:
        return f" -> exit {detail['exit_code']}"
    if step.kind == "control" and step.status == "ok":
        return ""
    reason = one_line(plain(text_of(step, "error")))
    status = detail.get("status") if step.kind in ("request", "control") else None
    if status == CLIENT_GAVE_UP and reason:
        status = None
    words = [str(status)] if status is not None else []
    # The text that a fault has by default says nothing besides the fault, which the line names.
    is_default = step.kind == "request" and reason in map(default_detail, step.controls)
    words += [truncate(reason, REASON_WIDTH)] if reason and not is_default else []
    return f" -> {' '.join(words)}" if words else ""


def _add_outputs(outline: Outline, entries: list[_Entry], most: int) -> None:
    """Put the end of the output below the last command, and below the last one before it that failed."""
    last = outline.last_command
    if last is None:
        return
    earlier = [
        step
        for step in outline.steps
        if step.kind == "command" and step.status == "error" and step.start < last.start and output_of(step).strip()
    ]
    wanted = [(last, min(OUTPUT_LINES, most))]
    wanted += [(earlier[-1], min(EARLIER_OUTPUT_LINES, most - wanted[0][1]))] if earlier else []
    for step, count in wanted:
        for entry in entries:
            if entry.step is step:
                entry.below = [f"{'':11}| {line}" for line in output_lines(step, count)]
                entry.weight = 5


def output_lines(step: Step, count: int) -> list[str]:
    """The last lines of a command's output as plain text; the first of them says how many are before it."""
    lines = [truncate(line.rstrip(), OUTPUT_WIDTH) for line in plain(output_of(step)).split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    if len(lines) <= count:
        return lines
    return [] if count < 1 else [f"… {len(lines) - count + 1} lines before", *lines[len(lines) - count + 1 :]]


def _chosen(entries: list[_Entry], lines: int) -> list[_Entry]:
    """As many entries as there are lines for, those that explain most and of these the newest, with a note in place
    of those that are left out."""
    if sum(len(entry.lines) for entry in entries) <= lines:
        return entries
    order = sorted(range(len(entries)), key=lambda index: (entries[index].weight, index), reverse=True)
    for count in range(min(lines, len(entries)), 0, -1):
        kept = sorted(order[:count])
        found = list(_with_gaps(entries, kept))
        if sum(len(entry.lines) for entry in found) <= lines:
            return found
    return [entries[index] for index in order[:1]]


def _with_gaps(entries: list[_Entry], kept: list[int]) -> Iterator[_Entry]:
    done = 0
    for index in [*kept, len(entries)]:
        if (left := index - done) > 0:
            yield _Entry(f"{'':11}… {left} step{'s' if left > 1 else ''} left out", 0)
        if index < len(entries):
            yield entries[index]
        done = index + 1


def _unused_lines(trace: Trace, most: int) -> list[str]:
    unused, lines = trace.header.unused, []
    for one in unused[:UNUSED]:
        where = f" ({one_line(one.source)})" if one.source else ""
        lines.append(f"never triggered: {one_line(plain(one.described))}{where}")
        lines += [f"    {nearest_text(text)}" for text in one.nearest[:NEAREST]]
    if len(unused) > UNUSED:
        lines.append(f"never triggered: {len(unused) - UNUSED} more")
    return lines[:most]


def _cut(line: str) -> str:
    return truncate(line.rstrip(), WIDTH)
