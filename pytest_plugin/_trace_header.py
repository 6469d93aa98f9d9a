"""Parts of the header of a trace: the failure, and where it is; what the test has cost."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Optional

import pytest

from caged.emulator.control.steps import Step
from caged.emulator.trace.file import UnusedControl
from caged.emulator.trace.outline import describe


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
    """A control in the words of the step that added it, where the trace has that."""
    added = next((step for step in steps if step.kind == "control" and control.id in step.controls), None)
    return control if added is None else replace(control, described=describe(control.id, added))
