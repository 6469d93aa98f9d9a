"""`caged-emulator inventory`: what an account on a running emulator has."""

from __future__ import annotations

from typing import Any

import click

from ..control.queries import SandboxLogQuery, SandboxQuery, SnapshotQuery, SocketQuery
from ..control_client.base_emulator import BaseEmulator
from .control import control_options
from .derived_options import described_options
from .tables import json_option, show


@click.group("inventory")
def command() -> None:
    """List what the account has now, oldest first. No fault or limit applies, and the journal does not show it."""


@command.command("sandboxes")
@described_options(SandboxQuery)
@json_option
@control_options
def sandboxes(emulator: BaseEmulator, as_json: bool, **options: Any) -> None:
    """List sandboxes that are not destroyed."""
    show(emulator.inventory.sandboxes(**options), as_json)


@command.command("logs")
@click.argument("sandbox")
@described_options(SandboxLogQuery)
@json_option
@control_options
def logs(emulator: BaseEmulator, as_json: bool, sandbox: str, **options: Any) -> None:
    """List the lines of the log of the sandbox SANDBOX, oldest first."""
    show(emulator.inventory.logs(sandbox, **options), as_json)


@command.command("snapshots")
@described_options(SnapshotQuery)
@json_option
@control_options
def snapshots(emulator: BaseEmulator, as_json: bool, **options: Any) -> None:
    """List snapshots, also of sandboxes that are gone."""
    show(emulator.inventory.snapshots(**options), as_json)


@command.command("sockets")
@described_options(SocketQuery)
@json_option
@control_options
def sockets(emulator: BaseEmulator, as_json: bool, **options: Any) -> None:
    """List open terminals, streaming commands and MCP connections."""
    show(emulator.inventory.sockets(**options), as_json)
