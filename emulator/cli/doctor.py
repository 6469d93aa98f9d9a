"""`caged-emulator doctor`: what works on this machine."""

from __future__ import annotations

import click


@click.command("doctor")
def command() -> None:
    """Tell which isolation level works here and why, and which programs stand behind each template."""
    from ..doctor import report

    for line in report():
        click.echo(line)
