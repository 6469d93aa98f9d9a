"""`caged-emulator accounts`: accounts of a running emulator."""

from __future__ import annotations

import click

from ..control_client.base_emulator import BaseEmulator
from .control import require_known, unscoped_options


@click.group("accounts")
def command() -> None:
    """Make and remove accounts of the running emulator; each sees nothing of the others."""


@command.command("create")
@click.argument("name", default="test")
@unscoped_options
def create(emulator: BaseEmulator, name: str) -> None:
    """Prints the id and the key of a new one."""
    made = emulator.create_account(name)
    click.echo(f"{made.id} {made.api_key}")


@command.command("list")
@unscoped_options
def listed(emulator: BaseEmulator) -> None:
    """Oldest first."""
    for account in emulator.accounts():
        click.echo(f"{account.id} {account.api_key}")


@command.command("delete")
@click.argument("account_id", metavar="ID")
@unscoped_options
def delete(emulator: BaseEmulator, account_id: str) -> None:
    """Remove one with everything in it."""
    require_known("account", account_id, [account.id for account in emulator.accounts()])
    emulator.delete_account(account_id)
