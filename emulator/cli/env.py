"""`caged-emulator env`: prints the environment variables that lead to a running emulator."""

from __future__ import annotations

import json
import shlex

import click

from .target import TargetSelection, target_options


@click.command("env")
@target_options
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def command(selection: TargetSelection, as_json: bool) -> None:
    """Print the environment variables of the running emulator: eval "$(caged-emulator env)"."""
    from ..control_client.transport import EmulatorError

    try:
        variables = selection.choose().variables()
    except (EmulatorError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json.dumps(variables, indent=2))
    else:
        for name, value in variables.items():
            click.echo(f"export {name}={shlex.quote(value)}")
