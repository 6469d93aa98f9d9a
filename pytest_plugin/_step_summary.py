"""The failed tests of a run as a table in the step summary of GitHub Actions."""

from __future__ import annotations

import os
from typing import Any

import pytest

from ._summary import TraceEntry, failed_traces, shown

#: Rows of the table. GitHub refuses a summary of more than 1 MiB.
MOST_ROWS = 200
#: Characters of a cell.
CELL_CHARACTERS = 400
_ESCAPED = str.maketrans({one: f"\\{one}" for one in "\\`*_[]<>|~#&@"})


def write(terminal: Any, config: pytest.Config) -> None:
    """Append the table to the file that GITHUB_STEP_SUMMARY names. A failure is a line of the terminal's summary."""
    failed = failed_traces(terminal, config)
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if not failed or not path:
        return
    try:
        with open(path, "a", encoding="utf-8", errors="replace") as file:
            file.write(table(failed, config))
    except OSError as error:
        terminal.write_line(f"caged: the step summary could not be written: {error}", yellow=True)


def table(failed: list[TraceEntry], config: pytest.Config) -> str:
    """The table in Markdown."""
    lines = ["### caged: traces of failed tests", "", "| test | cause | trace |", "|---|---|---|"]
    for one in failed[:MOST_ROWS]:
        lines.append(f"| {_cell(one.test)} | {_cell(one.cause)} | {_cell(shown(one.page, config))} |")
    if len(failed) > MOST_ROWS:
        lines.append(f"| {len(failed) - MOST_ROWS} more | | |")
    return "\n".join([*lines, "", ""])


def _cell(text: str) -> str:
    """A text in which no character has a meaning in Markdown or HTML."""
    from caged.emulator.truncation import truncate

    return truncate(" ".join(text.split()), CELL_CHARACTERS).translate(_ESCAPED)
