"""`caged-emulator prepared`: prepared sandboxes in a running emulator."""

from __future__ import annotations

from typing import Any, Optional

import click

from ..control.prepared import PreparedSandbox
from ..control_client.remote import RemoteEmulator
from .control import add_list_commands, control_options
from .derived_options import described_options


@click.group("prepared")
def command() -> None:
    """Build file systems once, and create sandboxes from them in milliseconds."""


@command.command("add")
@click.argument("name")
@described_options(PreparedSandbox, "prepare", omit=["name"])
@control_options
def add(emulator: RemoteEmulator, name: str, **options: Any) -> None:
    """Build a file system, of which `POST /v1/sandboxes` takes NAME as its template. Prints its id."""
    click.echo(emulator.prepare(name, **options).id)


def _find(emulator: RemoteEmulator, name: str) -> Optional[str]:
    return next((one.id for one in emulator.prepared.list() if one.name == name), None)


add_list_commands(command, "prepared sandbox", lambda emulator: emulator.prepared, "NAME", _find)
