"""`caged-emulator env`: what a program needs to find a running emulator."""

from __future__ import annotations

import json
import shlex
from typing import Optional

import click

from .target import choose, target_options


@click.command("env")
@target_options
@click.option("--json", "as_json", is_flag=True, help="As a JSON object.")
def command(port: Optional[int], pid: Optional[int], as_json: bool) -> None:
    """Print the environment variables of the running emulator: eval "$(caged-emulator env)"."""
    variables = choose(port, pid).variables()
    if as_json:
        click.echo(json.dumps(variables, indent=2))
    else:
        for name, value in variables.items():
            click.echo(f"export {name}={shlex.quote(value)}")
