"""`caged-emulator accounts`: accounts of a running emulator."""

from __future__ import annotations

from typing import Any

import click

from ..control.queries import AccountQuery
from ..control_client.base_emulator import BaseEmulator
from .control import require_known, unscoped_options
from .derived_options import described_options
from .tables import json_option, show


@click.group("accounts")
def command() -> None:
    """Create, list and remove accounts of the running emulator; each sees nothing of the others."""


@command.command("create")
@click.argument("name", default="test")
@unscoped_options
def create(emulator: BaseEmulator, name: str) -> None:
    """Create an account. Prints its id and its API key."""
    made = emulator.create_account(name)
    click.echo(f"{made.id} {made.api_key}")


@command.command("list")
@described_options(AccountQuery)
@json_option
@unscoped_options
def list_accounts(emulator: BaseEmulator, as_json: bool, **options: Any) -> None:
    """List accounts with a full API key of each, oldest first."""
    show(emulator.accounts(**options), as_json, ["id", "api_key"])


@command.command("remove")
@click.argument("account_id", metavar="ID")
@unscoped_options
def remove(emulator: BaseEmulator, account_id: str) -> None:
    """Remove an account with everything in it."""
    require_known("account", account_id, [account.id for account in emulator.accounts()])
    emulator.remove_account(account_id)
