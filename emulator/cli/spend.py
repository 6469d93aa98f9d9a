"""`caged-emulator spend`: money that agents in a sandbox have spent."""

from __future__ import annotations

import click

from ..double.double import Double
from .control import control_options


@click.command("spend")
@click.argument("sandbox")
@click.argument("usd", type=float)
@control_options
def command(emulator: Double, sandbox: str, usd: float) -> None:
    """Agents in SANDBOX have spent USD. Prints its whole cost; alerts, and the pause at its budget, have happened."""
    click.echo(f"{emulator.spend(sandbox, usd):.6f}")
