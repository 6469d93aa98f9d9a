"""`caged-emulator export`: writes the state of a running emulator into one file."""

from __future__ import annotations

import click

from ..control_client.remote import RemoteEmulator
from .control import control_options
from .terminal_output import transfer


@click.command("export")
@click.argument("path", type=click.Path(dir_okay=False))
@control_options
def command(emulator: RemoteEmulator, path: str) -> None:
    """Write everything, or one `--account`, to PATH (a .tar.gz). It holds secrets; only you can read it."""
    with transfer("exporting") as note:
        emulator.export(path, on_progress=note)
