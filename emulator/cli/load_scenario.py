"""`caged-emulator load-scenario`: load a scenario into a running emulator."""

from __future__ import annotations

import shlex

import click

from ..control_client.base_emulator import BaseEmulator
from .control import control_options


@click.command("load-scenario")
@click.argument("scenario", type=click.Path(exists=True, dir_okay=False))
@control_options
def command(emulator: BaseEmulator, scenario: str) -> None:
    """Make what the file SCENARIO describes. Prints the ids and keys as lines for a shell."""
    for name, value in emulator.load_scenario(scenario).variables().items():
        click.echo(f"export {name}={shlex.quote(value)}")
