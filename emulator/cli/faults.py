"""`caged-emulator faults`: faults that a running emulator injects into requests."""

from __future__ import annotations

from typing import Any, Optional

import click

from ..control.faults import Fault
from ..control_client.remote import RemoteEmulator
from .control import add_list_commands, control_options
from .derived_options import described_options


@click.group("faults")
def command() -> None:
    """Inject faults into requests of the running emulator."""


@command.command("add")
@click.argument("operation", required=False)
@described_options(Fault, omit=["operation"])
@control_options
def add(emulator: RemoteEmulator, operation: Optional[str], **options: Any) -> None:
    """Inject a fault into requests of OPERATION (sandboxes.exec, or a glob), or into those that the options name.

    Prints the fault's id."""
    click.echo(emulator.faults.add(operation, **options).id)


add_list_commands(command, "fault", lambda emulator: emulator.faults)
