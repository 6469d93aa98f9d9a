"""`caged-emulator reset`: removes everything in an account but its keys."""

from __future__ import annotations

import click

from ..control_client.base_emulator import BaseEmulator
from .control import control_options
from .terminal_output import progress


@click.command("reset")
@control_options
def command(emulator: BaseEmulator) -> None:
    """Remove everything in an account but its keys: sandboxes, snapshots, faults, stubs, replies, journal, its time."""
    with progress("resetting"):
        emulator.reset()
