"""`caged-emulator import`: adds what `export` has written to a running emulator."""

from __future__ import annotations

import os

import click

from ..control_client.base_emulator import BaseEmulator
from .control import unscoped_options
from .terminal_output import transfer


@click.command("import")
@click.argument("path", type=click.Path(exists=True, dir_okay=False))
@unscoped_options
def command(emulator: BaseEmulator, path: str) -> None:
    """Add what is in the file PATH; its sandboxes are stopped, and resume starts them.

    Accounts that exist already stay as they are and get the rest; sandboxes and snapshots whose ids exist get others.
    """
    with transfer("importing", os.path.getsize(path)) as note:
        emulator.import_(path, on_progress=note)
