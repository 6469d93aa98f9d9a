"""A trace in small answers, for terminals and coding agents: the whole of it, some of its steps, one step."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Optional

from ..control.step import Step
from ..truncation import truncate
from .file import Trace
from .outline import Outline, diff, output_of, text_of
from .summary import facts
from .text import counted, duration, one_line, plain, source_lines
from .timeline import result, step_line, timeline, title

#: Lines of an answer, about; characters of one of its lines.
LINES, WIDTH = 38, 200
#: Characters of an id that are shown at least of those that are long.
SHORT_ID = 8
#: Texts in the detail of a step that have a section of their own, with the number of lines that are shown.
_TEXTS = {"request": 6, "response": 8, "prompt": 8, "reply": 8, "message": 4, "error": 6}
#: Parts of a detail that are shown otherwise, or that repeat the step's title.
_SHOWN = (*_TEXTS, "output", "output_cut", "changes", "near_misses", "source", "warnings")


class UnknownStep(Exception):
    """A trace has no step with an id, or more than one that begins so."""


class TraceView:
    """A trace, with texts of it.

    Args:
        trace: The trace.
    """

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self._outline = Outline(trace)
        self._labels = _short_ids([step.id for step in self._outline.steps])

    def find(self, identifier: str) -> Step:
        """The step with an id, or the only one whose id begins so.

        Raises:
            UnknownStep: There is none, or more than one.
        """
        step = self._outline.get(identifier)
        if step is not None:
            return step
        found = [one for one in self._outline.steps if identifier and one.id.startswith(identifier)]
        if len(found) == 1:
            return found[0]
        if found:
            ids = ", ".join(self._labels[one.id] for one in found[:5])
            raise UnknownStep(f"{len(found)} steps have an id that begins with {identifier!r}: {ids}")
        ids = ", ".join(list(self._labels.values())[:5]) or "none"
        raise UnknownStep(f"there is no step {identifier!r}; the ids stand first in each line of the list: {ids}, …")

    def matching(self, kinds: Iterable[str] = (), errors: bool = False, text: str = "") -> list[Step]:
        """The steps of certain kinds, only those that failed, only those that have a text, in any case, somewhere."""
        wanted = tuple(kinds)
        return [
            step
            for step in self._outline.steps
            if (not wanted or step.kind in wanted)
            and (not errors or step.status == "error")
            and (not text or next(_found_in(step, text), None) is not None)
        ]

    def overview(self) -> list[str]:
        """The whole trace: outcome, cause and timeline."""
        header = self.trace.header
        lines = [f"{header.outcome.upper()} {one_line(plain(header.title))}", ", ".join(facts(self._outline))]
        if header.error_summary:
            source = header.error_source or {}
            where = f"  ({source.get('path')}:{source.get('line')})" if source else ""
            lines.append(f"{one_line(plain(header.error_summary))}{where}")
        lines += [f"note: {one_line(plain(note))}" for note in header.notes[:3]]
        lines = [truncate(line, WIDTH) for line in lines]
        return [*lines, "", *timeline(self.trace, LINES - len(lines) - 1, self._labels)]

    def list_of(self, steps: list[Step], text: str = "") -> list[str]:
        """Some steps, one line each, with the line below it that has `text`, unless its title has it."""
        width = max(map(len, self._labels.values()), default=0)
        lines: list[str] = []
        for number, step in enumerate(steps):
            shown = [f"{self._labels[step.id]:{width}} {step_line(self._outline, step)}"]
            if text and text.lower() not in title(step).lower():
                where, found = next(_found_in(step, text), ("", ""))
                shown += [f"{'':{width}} {'':11}| {where}: {_around(found, text)}"] if where else []
            if len(lines) + len(shown) > LINES - 1 and number < len(steps):
                lines.append(f"… {counted(len(steps) - number, 'step')} more, of {len(steps)}")
                break
            lines += shown
        return lines

    def details(self, step: Step, text: str = "") -> list[str]:
        """One step, or, with `text`, those lines of it that have the text, in any case."""
        if text:
            found = [f"{where}: {_around(line, text)}" for where, line in _found_in(step, text)]
            return _bounded(found, LINES)
        lines = [f"{self._labels[step.id]}  {step.kind}  {truncate(title(step), WIDTH)}{result(step)}"]
        took = "did not end" if step.duration_ms is None else f"took {duration(step.duration_ms)}"
        lines.append(f"{step.status}, at {self._outline.seconds(step):.3f} s, {took}; {step.at}")
        parent = self._outline.parent(step)
        lines += [f"sandbox: {step.sandbox}"] if step.sandbox else []
        lines += [f"below: {self._named(parent)}"] if parent is not None else []
        verb = "applied" if self._outline.is_applied(step) else "added"
        lines += [f"{verb}: {self._outline.described(one)}" for one in step.controls]
        lines += [f"near miss: {one_line(plain(str(one)))}" for one in _list(step.detail.get("near_misses"))[:3]]
        lines += [f"warning: {one_line(plain(str(one)))}" for one in _list(step.detail.get("warnings"))[:3]]
        lines += _plain_values(step.detail)
        lines += _source(step.detail.get("source"))
        lines += self._texts(step)
        children = [self._named(child) for child in self._outline.children(step)]
        if children:
            lines += ["caused:", *(f"  {line}" for line in _bounded(children, max(6, LINES - len(lines) - 1)))]
        return _bounded([truncate(line, WIDTH) for line in lines], LINES)

    def _texts(self, step: Step) -> Iterator[str]:
        for name, most in _TEXTS.items():
            yield from _section(name, text_of(step, name), most)
        yield from _section("output", output_of(step), 20, last=True)
        for change in self._outline.changes(step)[:4]:
            note = f": {change['note']}" if change.get("note") else ""
            yield f"{change.get('change', 'changed')} {one_line(plain(str(change.get('path', ''))))}{note}"
            yield from (f"  {line}" for line in _bounded(diff(change), 12))

    def _named(self, step: Step) -> str:
        return f"{self._labels[step.id]} {step.kind} {truncate(title(step), 100)}{result(step)}"


def step_record(step: Step) -> dict[str, Any]:
    """What a step is, for programs, without its detail."""
    return {
        "id": step.id,
        "parent": step.parent,
        "kind": step.kind,
        "title": step.title,
        "status": step.status,
        "start": step.start,
        "duration_ms": step.duration_ms,
        "sandbox": step.sandbox,
        "controls": step.controls,
    }


def _short_ids(ids: list[str]) -> Mapping[str, str]:
    """Each id, or the beginning of a long one that no other has."""
    order = sorted(set(ids))
    found = {}
    for before, one, after in zip(["", *order], order, [*order[1:], ""]):
        shared = max(_shared(one, other) for other in (before, after))
        found[one] = plain(one[: max(SHORT_ID, shared + 1)])
    return found


def _shared(one: str, other: str) -> int:
    """How many characters two texts have in common at their beginnings."""
    return sum(1 for _pair in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(one, other)))


def _found_in(step: Step, text: str) -> Iterator[tuple[str, str]]:
    """The lines of a step that have a text, in any case, each with the name of what it is in."""
    wanted = text.lower()
    texts = {"title": step.title, "sandbox": step.sandbox, "output": output_of(step)}
    texts.update((name, value) for name, value in _flat(step.detail) if name.partition(".")[0] != "output")
    for name, value in texts.items():
        for line in plain(value).split("\n"):
            if wanted in line.lower():
                yield name, line


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """The texts in a value of JSON, each with its path."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _flat(inner, f"{name}.{number}")
    elif value is not None:
        yield name, value if isinstance(value, str) else json.dumps(value)


def _around(line: str, text: str) -> str:
    """A line, without what is far from the text that it has."""
    line = one_line(line)
    at = max(0, line.lower().find(text.lower()))
    begin = max(0, at - 60)
    return f"{'…' if begin else ''}{truncate(line[begin:], WIDTH - 40)}"


def _plain_values(detail: Mapping[str, Any]) -> Iterator[str]:
    for name, value in detail.items():
        if name not in _SHOWN and value not in (None, "", [], {}):
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            yield f"{name}: {truncate(one_line(plain(text)), WIDTH)}"


def _source(source: Any) -> Iterator[str]:
    if isinstance(source, str) and source:
        yield f"source: {one_line(plain(source))}"
    elif isinstance(source, dict):
        yield f"source: {one_line(plain(str(source.get('path'))))}:{source.get('line')}"
        for number, text, is_meant in source_lines(source):
            yield f"  {'>' if is_meant else ' '} {number:4} {text}"


def _section(name: str, text: str, most: int, last: bool = False) -> Iterator[str]:
    """A text below its name; its first lines, or its last ones."""
    lines = plain(text).strip("\n").split("\n")
    if lines == [""]:
        return
    if len(lines) == 1:
        yield f"{name}: {truncate(lines[0], WIDTH * 2)}"
        return
    yield f"{name}:"
    shown = [f"… {len(lines) - most} lines before", *lines[-most:]] if last and len(lines) > most else lines
    yield from (f"  {line}" for line in (shown if last else _bounded(lines, most)))


def _bounded(lines: list[str], most: int) -> list[str]:
    return lines if len(lines) <= most else [*lines[: most - 1], f"… {counted(len(lines) - most + 1, 'line')} more"]


def _list(value: Optional[Any]) -> list[Any]:
    return value if isinstance(value, list) else []
