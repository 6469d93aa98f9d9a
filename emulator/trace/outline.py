"""The steps of a trace as a tree, and the parts of it that answer "what happened?"."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from typing import Any, Optional

from ..control.step import Step
from ..truncation import truncate
from .file import Trace
from .text import money, one_line, plain

#: Characters of the description of a control.
DESCRIPTION_CHARACTERS = 120
#: Options of a control that say nothing about what it does.
_PLAIN_OPTIONS = ("account", "body", "detail", "optional", "allow_errors", "headers", "agent", "kind", "output")
#: The option that names what a control is about; its value is shown without its name.
_MAIN_OPTIONS = ("operation", "match", "program", "text", "status")

#: Kinds of steps that a sandbox reports on its own, also after what caused them is over.
_EVENTS = frozenset({"sandbox", "alert", "event", "error"})
#: How the text about a fault that no request matched begins.
REQUESTED_INSTEAD, NOTHING_REQUESTED = "requested instead: ", "nothing was requested"
#: What ends or interrupts the running of a sandbox, and what lets it run, as its steps name it.
_ENDS, _BEGINS = frozenset({"pause", "stop", "destroy", "crash"}), frozenset({"create", "resume", "start", "restart"})
#: Levels above a step that are looked at for one that still ran.
_LEVELS = 20


class Outline:
    """The steps of a trace as a tree.

    A parent that is not in the trace, or that is below its own child, counts as none, so that each step is reached
    exactly once.

    Args:
        trace: The trace.

    Attributes:
        trace: The trace.
        steps: Its steps in the order in which they began.
        sandboxes: The ids of the sandboxes, in the order in which something happened in them.
        begin: The value of `Step.start` at which its time begins.
    """

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.steps = sorted(trace.steps, key=lambda step: step.start)
        self._by_id: dict[str, Step] = {}
        for step in self.steps:
            self._by_id.setdefault(step.id, step)
        self._parents: dict[int, Optional[Step]] = {}
        self._lines: dict[int, Optional[int]] = {}
        self._children: dict[str, list[Step]] = {}
        self._roots: list[Step] = []
        for step in self.steps:
            parent = self.parent(step)
            if parent is None:
                self._roots.append(step)
            else:
                self._children.setdefault(parent.id, []).append(step)
        starts = [step.start for step in self.steps[:1]]
        self.begin = min([trace.header.start, *starts]) if trace.header.start > 0 else sum(starts)
        self.sandboxes = list(dict.fromkeys(step.sandbox for step in self.steps if step.sandbox))
        self._described = self._descriptions()

    def get(self, step_id: str) -> Optional[Step]:
        """The step with an id; None without one."""
        return self._by_id.get(step_id)

    def parent(self, step: Step) -> Optional[Step]:
        """The step that caused a step, if it is in the trace. What happens in a sandbox after its cause is over belongs
        to the step above that still ran, so that it stands where it happened."""
        key = id(step)
        if key not in self._parents:
            self._parents[key] = self._find_parent(step)
        return self._parents[key]

    def _find_parent(self, step: Step) -> Optional[Step]:
        parent = self._by_id.get(step.parent) if step.parent != step.id else None
        if parent is None or step.kind not in _EVENTS:
            return parent
        above: Optional[Step] = parent
        for _ in range(_LEVELS):
            if above is None or above is step:
                break
            if not _is_over(above, step.start):
                return above
            above = self._by_id.get(above.parent)
        return parent

    def children(self, step: Step) -> list[Step]:
        """The steps that a step caused."""
        return self._children.get(step.id, []) if self._by_id.get(step.id) is step else []

    def walk(self) -> Iterator[tuple[Step, int]]:
        """Each step with its depth: a step comes before its children, and siblings come in order."""
        seen: set[int] = set()
        for start in (self._roots, self.steps):  # steps of a circle of parents have no root
            for root in start:
                if id(root) not in seen:
                    yield from self._below(root, seen)

    def _below(self, root: Step, seen: set[int]) -> Iterator[tuple[Step, int]]:
        waiting = [(root, 0)]
        while waiting:
            step, depth = waiting.pop()
            if id(step) in seen:
                continue
            seen.add(id(step))
            yield step, depth
            waiting.extend((child, depth + 1) for child in reversed(self.children(step)))

    def ancestors(self, step: Step) -> Iterator[Step]:
        """The steps above a step, the nearest first."""
        seen = {id(step)}
        above = self.parent(step)
        while above is not None and id(above) not in seen:
            seen.add(id(above))
            yield above
            above = self.parent(above)

    def line_number(self, step: Step) -> Optional[int]:
        """The line of the test that caused a step, where a call above it has one."""
        passed: list[Step] = []
        line: Optional[int] = None
        for one in itertools.chain([step], self.ancestors(step)):
            if id(one) in self._lines:
                line = self._lines[id(one)]
                break
            passed.append(one)
            source = one.detail.get("source")
            if isinstance(source, dict) and isinstance(source.get("line"), int):
                line = int(source["line"])
                break
        self._lines.update((id(one), line) for one in passed)  # so that deep nesting is walked once
        return line

    def seconds(self, step: Step) -> float:
        """When a step began, in seconds since the beginning of the trace."""
        return max(0.0, step.start - self.begin)

    @functools.cached_property
    def last_command(self) -> Optional[Step]:
        """The last command that printed something or failed, or else the last one. Calls of stubbed programs do not
        count."""
        commands = [step for step in self.steps if step.kind == "command" and step.detail.get("source") != "program"]
        notable = [step for step in commands if step.status == "error" or output_of(step).strip()]
        found = notable or commands
        return found[-1] if found else None

    @functools.cached_property
    def deepest_failure(self) -> Optional[Step]:
        """The last step that failed and in which nothing else failed; phases of the test and alerts do not count. One
        of the phase that failed takes precedence."""
        failed = {id(step) for step in self.steps if step.status == "error" and step.kind not in ("test", "alert")}
        inner = [step for step in self.steps if id(step) in failed]
        inner = [step for step in inner if not any(id(child) in failed for child in self.children(step))]
        phase = self.trace.header.phase
        in_phase = [step for step in inner if any(above.id == phase for above in self.ancestors(step))]
        found = in_phase or inner
        return found[-1] if found else None

    @functools.cached_property
    def refused(self) -> Optional[Step]:
        """The step that shows what failed, where it was refused because its sandbox did not run."""
        for step in (self.last_command, self.deepest_failure):
            if step is not None and self.interruption(step) is not None:
                return step
        return None

    @functools.cached_property
    def cause(self) -> Optional[Step]:
        """The step that interrupted the sandbox of the refused one."""
        return None if self.refused is None else self.interruption(self.refused)

    def interruption(self, step: Step) -> Optional[Step]:
        """The step that interrupted the sandbox of a step, where that one failed without an exit code after it."""
        if step.status != "error" or not step.sandbox or not text_of(step, "error"):
            return None
        if step.detail.get("exit_code") is not None:
            return None
        end = step.start + (step.duration_ms or 0) / 1000
        found = None
        for one in self.steps:
            if one.kind != "sandbox" or one.sandbox != step.sandbox or one.start > end:
                continue
            action = _data(one).get("action")
            if action in _ENDS:
                found = one
            elif action in _BEGINS:
                found = None
        return found

    def interruption_text(self, step: Step) -> str:
        """What interrupted a sandbox, when and why: `paused at 0.120 s: budget used up ($0.75 of $0.50)`. `step`: the
        step of the interruption."""
        what, _colon, why = one_line(plain(step.title)).partition(": ")
        text = f"{what} at {self.seconds(step):.3f} s{f': {why}' if why else ''}"
        return text + self._spent(step) if _data(step).get("cause") == "budget" else text

    def _spent(self, step: Step) -> str:
        """How much of its budget a sandbox had used, by the newest alert before a step."""
        for one in reversed(self.steps):
            meta = one.detail.get("meta")
            is_meant = one.kind == "alert" and one.sandbox == step.sandbox and one.start <= step.start
            if not is_meant or not isinstance(meta, dict):
                continue
            try:
                return f" ({money(float(meta['spent_usd']))} of {money(float(meta['budget_usd']))})"
            except (KeyError, TypeError, ValueError):
                continue
        return ""

    @property
    def first(self) -> Optional[Step]:
        """The step that a page shows at first: the deepest one that failed, or else the last command, or else the phase
        that failed."""
        failed = next((step for step in self.steps if step.status == "error"), None)
        return self.deepest_failure or self.last_command or failed

    def added_by(self, control: str) -> Optional[Step]:
        """The step that added a control."""
        return next((step for step in self.steps if step.kind == "control" and control in step.controls), None)

    @functools.cached_property
    def last_prompt(self) -> Optional[Step]:
        """The last prompt that began before the last command was over, or, without a command, the last prompt."""
        command = self.last_command
        end = float("inf") if command is None else command.start + (command.duration_ms or 0) / 1000
        prompts = [step for step in self.steps if step.kind == "prompt" and step.start <= end]
        return prompts[-1] if prompts else None

    def changes(self, step: Step) -> list[dict[str, Any]]:
        """The changes of files that a step has, without those that a step above it has, too."""
        changes = mappings_of(step, "changes")
        if not changes:
            return []
        known = [change for above in self.ancestors(step) for change in mappings_of(above, "changes")]
        return [change for change in changes if change not in known]

    def described(self, control: str) -> str:
        """A control in one line; its id where the trace does not have the step that added it."""
        return self._described.get(control) or control

    def is_applied(self, step: Step) -> bool:
        """Whether a control applied to a step. The step that adds a control has its id, too."""
        return bool(step.controls) and step.kind != "control"

    def _descriptions(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for step in self.steps:
            if step.kind == "control":
                for control in step.controls:
                    found.setdefault(control, describe(control, step))
        for unused in self.trace.header.unused:
            found[unused.id] = one_line(unused.described)
        return found


def nearest_text(text: str) -> str:
    """What came nearest to a control, with its label; a text that says itself what it is has none."""
    text = one_line(plain(text))
    return text if text.startswith((REQUESTED_INSTEAD, NOTHING_REQUESTED)) else f"nearest: {text}"


def _data(step: Step) -> dict[str, Any]:
    """The data of an event in a sandbox."""
    data = step.detail.get("data")
    return data if isinstance(data, dict) else {}


def _is_over(step: Step, moment: float) -> bool:
    return step.duration_ms is not None and moment > step.start + step.duration_ms / 1000


def cost(step: Step) -> float:
    """What a step has cost: that of a prompt, or what `spend` added."""
    detail = step.detail
    spent: Any = 0
    if step.kind == "prompt":
        spent = detail.get("cost_usd")
    elif step.kind == "control" and step.status == "ok" and str(detail.get("path", "")).endswith("/spend"):
        body = detail.get("body")
        spent = body.get("usd") if isinstance(body, dict) else 0
    return float(spent) if isinstance(spent, (int, float)) else 0.0


def noun(control: str) -> str:
    """What a control is, by its id: `fault`, `stub` or `reply`."""
    word = control.partition("_")[0]
    return {"cmd": "stub", "command": "stub"}.get(word, word)


def describe(control: str, step: Step) -> str:
    """A control in one line, such as `fault sandboxes.exec 503 times=2`. `step`: the step that added it."""
    body = step.detail.get("body")
    if not isinstance(body, dict):
        return control
    agents = str(step.detail.get("path", "")).partition("/agents/")[2].partition("/")[0]
    main = [_short(body[name]) for name in _MAIN_OPTIONS if body.get(name) not in (None, "")]
    rest = [
        f"{name}={_short(value)}"
        for name, value in body.items()
        if name not in (*_MAIN_OPTIONS, *_PLAIN_OPTIONS) and value not in (None, "", [], {}, 0, False)
    ]
    text = " ".join(word for word in [noun(control), agents, *main, *rest] if word)
    return truncate(text, DESCRIPTION_CHARACTERS)


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return ",".join(str(key) for key in value)
    shown = truncate(one_line(str(value)), 40)
    return repr(shown) if isinstance(value, str) and " " in shown else shown


def output_of(step: Step) -> str:
    """The output of a command, without its times."""
    pieces = step.detail.get("output")
    if not isinstance(pieces, list):
        return ""
    return "".join(str(piece[1]) for piece in pieces if isinstance(piece, (list, tuple)) and len(piece) == 2)


def text_of(step: Step, name: str) -> str:
    """A text of a step's detail; empty where it has none of this name."""
    value = step.detail.get(name)
    return value if isinstance(value, str) else ""


def mappings_of(step: Step, name: str) -> list[dict[str, Any]]:
    """The mappings in a list of a step's detail."""
    value = step.detail.get(name)
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def diff(change: dict[str, Any]) -> list[str]:
    """The unified diff of a change; empty where its texts are not known."""
    import difflib  # not needed by most

    before, after, kind = change.get("before"), change.get("after"), change.get("change")
    if not (kind == "added" or isinstance(before, str)) or not (kind == "removed" or isinstance(after, str)):
        return []
    old = plain(before).splitlines() if isinstance(before, str) else []
    new = plain(after).splitlines() if isinstance(after, str) else []
    return list(difflib.unified_diff(old, new, n=2, lineterm=""))[2:]
