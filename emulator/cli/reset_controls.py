"""`caged-emulator reset-controls`: removes an account's controls and its journal."""

from __future__ import annotations

import click

from ..control_client.base_emulator import BaseEmulator
from .control import control_options


@click.command("reset-controls")
@control_options
def command(emulator: BaseEmulator) -> None:
    """Remove an account's controls (faults, stubs, replies, fake repositories, prepared sandboxes, its time) and clear
    its journal. Its sandboxes, snapshots and keys stay."""
    emulator.reset_controls()
