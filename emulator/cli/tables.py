"""Lists of records on the command line: a table for people, or JSON with `--json`."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

import click

from ..control.records import columns_of
from ..truncation import truncate

#: Characters of one cell; a longer value is cut.
_CELL = 200

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line, with all values.")


def show(records: Sequence[Any], as_json: bool, columns: Sequence[str] = ()) -> None:
    """Print records; nothing where there are none.

    Args:
        records: Dataclasses of one class.
        as_json: One JSON object a line instead of a table.
        columns: What the table shows; by default, what the class marks as columns.
    """
    if as_json:
        for record in records:
            click.echo(json.dumps(dataclasses.asdict(record)))
        return
    if not records:
        return
    names = columns or columns_of(type(records[0]))
    rows = [[name.replace("_", " ").upper() for name in names]]
    rows += [[_cell(getattr(record, name)) for name in names] for record in records]
    for index in range(len(names) - 1):
        width = max(len(row[index]) for row in rows)
        for row in rows:
            row[index] = row[index].ljust(width)
    for row in rows:
        click.echo("  ".join(row).rstrip())


def _cell(value: Any) -> str:
    """A value in one line."""
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        text = ", ".join(f"{name}={inner!r}" for name, inner in value.items())
        return truncate(text or "-", _CELL, includes_mark=True)
    text = str(value)
    return truncate(text if text.isprintable() else repr(text), _CELL, includes_mark=True)
