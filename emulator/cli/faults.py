"""`caged-emulator faults`: what goes wrong at a running emulator."""

from __future__ import annotations

from typing import Any, Optional

import click

from ..control_client.faults import Faults
from ..control_client.remote import RemoteEmulator
from .control import control_options, given, require_known, scope_of
from .signature import options_of


@click.group("faults")
def command() -> None:
    """Make calls of the running emulator go wrong."""


@command.command("add")
@click.argument("operation", required=False)
@options_of(Faults.add, leave=["operation"])
@control_options
def add(emulator: RemoteEmulator, operation: Optional[str], **options: Any) -> None:
    """Add one for OPERATION (sandboxes.exec, or a pattern), or for what the options say. Prints its id."""
    click.echo(emulator.faults.add(operation, **given(options)).id)


@command.command("list")
@control_options
def listed(emulator: RemoteEmulator) -> None:
    """In the order in which they are tried."""
    for fault in emulator.faults.list():
        click.echo(str(fault))


@command.command("remove")
@click.argument("fault")
@control_options
def remove(emulator: RemoteEmulator, fault: str) -> None:
    """Calls that hang by it end, without an answer."""
    known = emulator.faults.list(account=emulator.selected_account or "*")
    require_known("fault", fault, [one.id for one in known], scope_of(emulator))
    emulator.faults.remove(fault)


@command.command("clear")
@control_options
def clear(emulator: RemoteEmulator) -> None:
    """Remove all."""
    emulator.faults.clear()
