"""`caged-emulator doctor`: reports what works on this machine."""

from __future__ import annotations

import click


@click.command("doctor")
def command() -> None:
    """Report which isolation levels work here and why, and which programs each template uses."""
    from ..doctor import report

    for line in report():
        click.echo(line)
