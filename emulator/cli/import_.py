"""`caged-emulator import`: adds what `export` has written to a running emulator."""

from __future__ import annotations

import click

from ..control_client.base_emulator import BaseEmulator
from .control import unscoped_options


@click.command("import")
@click.argument("path", type=click.Path(exists=True, dir_okay=False))
@unscoped_options
def command(emulator: BaseEmulator, path: str) -> None:
    """Add what is in the file PATH; its sandboxes are stopped, and resume starts them."""
    emulator.import_(path)
