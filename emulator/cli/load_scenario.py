"""`caged-emulator load-scenario`: load a scenario into a running emulator."""

from __future__ import annotations

import shlex

import click

from ..control_client.base_emulator import BaseEmulator
from .control import control_options
from .terminal_output import progress


@click.command("load-scenario")
@click.argument("scenario", type=click.Path(exists=True, dir_okay=False))
@control_options
def command(emulator: BaseEmulator, scenario: str) -> None:
    """Make what the file SCENARIO describes. Prints the ids and keys as lines for a shell."""
    with progress("loading the scenario"):
        loaded = emulator.load_scenario(scenario)
    for name, value in loaded.variables().items():
        click.echo(f"export {name}={shlex.quote(value)}")
