"""`caged-emulator doctor`: reports what works on this machine."""

from __future__ import annotations

import dataclasses
import json

import click


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object with all values.")
def command(as_json: bool) -> None:
    """Report which isolation levels work here and why, and which programs each template uses."""
    from ..doctor import examine, lines_of

    report = examine()
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(report)))
        return
    for line in lines_of(report):
        click.echo(line)
