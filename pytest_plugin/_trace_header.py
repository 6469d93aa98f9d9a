"""Parts of the header of a trace: the failure, and where it is; what the test has cost."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Optional

import pytest

from caged.emulator.control.step import Step
from caged.emulator.control_client.faults import NO_REQUEST_MATCHED
from caged.emulator.trace.file import UnusedControl
from caged.emulator.trace.outline import NOTHING_REQUESTED, REQUESTED_INSTEAD, describe
from caged.emulator.trace.text import counted

#: Operations that are named of those that were requested instead of the one of a fault.
OPERATIONS = 6


def relative(page: Path, report: Optional[str], config: pytest.Config) -> str:
    """The path of a trace as the report in a file names it: relative to that file."""
    directory = config.invocation_params.dir
    if report:
        directory = (directory / os.path.expanduser(os.path.expandvars(report))).parent
    try:
        return Path(os.path.relpath(page, directory)).as_posix()
    except ValueError:  # another drive
        return page.as_posix()


def first_line(call: pytest.CallInfo[None]) -> str:
    """The first line of a failure, with the second where that says what the first one announces."""
    text = call.excinfo.exconly().strip() if call.excinfo is not None else ""
    first, _newline, rest = text.partition("\n")
    return f"{first} {rest.strip().splitlines()[0].strip()}" if first.endswith(":") and rest.strip() else first


def failing_line(item: pytest.Item, call: pytest.CallInfo[None]) -> Optional[tuple[str, int]]:
    """The line of the test's file at which it failed."""
    path = str(getattr(item, "path", ""))
    entries = call.excinfo.traceback if call.excinfo is not None else []
    lines = [entry.lineno + 1 for entry in entries if str(entry.path) == path]
    return (path, lines[-1]) if lines else None


def described(control: UnusedControl, steps: list[Step]) -> UnusedControl:
    """A control in the words of the step that added it, where the trace has that. Of a fault that no request matched,
    what was requested instead."""
    added = next((step for step in steps if step.kind == "control" and control.id in step.controls), None)
    if added is None:
        return control
    nearest = [one if one != NO_REQUEST_MATCHED else _requested_instead(added, steps) for one in control.nearest]
    return replace(control, described=describe(control.id, added), nearest=nearest)


def _requested_instead(added: Step, steps: list[Step]) -> str:
    """What was requested after a fault was added; and how often its operation was requested before."""
    end = added.start + (added.duration_ms or 0) / 1000
    requests = [
        step
        for step in steps
        if step.kind == "request" and step.detail.get("operation") and added.account in ("", step.account)
    ]
    calls = {step.id: str(step.detail.get("call") or "") for step in steps if step.kind == "call"}
    later = list(dict.fromkeys(_named(step, calls.get(step.parent, "")) for step in requests if step.start >= end))
    if not later:
        text = f"{NOTHING_REQUESTED} after it was added"
    else:
        more = f", and {len(later) - OPERATIONS} more" if len(later) > OPERATIONS else ""
        text = f"{REQUESTED_INSTEAD}{', '.join(later[:OPERATIONS])}{more}"
    body = added.detail.get("body")
    wanted = body.get("operation") if isinstance(body, dict) else None
    before = sum(step.start < end and step.detail["operation"] == wanted for step in requests)
    return f"{text}; {wanted} was requested {counted(before, 'time')} before it was added" if before else text


def _named(request: Step, call: str) -> str:
    """The operation of a request, with the call that it was a part of where that has another name."""
    operation = str(request.detail["operation"])
    return operation if call in ("", operation) else f"{operation} (of {call})"
