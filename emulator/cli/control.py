"""The options and commands that the groups for controlling a running emulator have in common."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Callable, Optional, Union

import click

from ..control.names import suggestion
from ..control.queries import ControlQuery
from ..control_client.agents import Agents
from ..control_client.commands import Commands
from ..control_client.faults import Faults
from ..control_client.prepared import Prepared
from ..control_client.remote import RemoteEmulator
from ..control_client.repositories import Repos
from ..control_client.transport import EmulatorError
from .derived_options import described_options
from .tables import json_option, show
from .target import Target, TargetSelection, plain_warnings, target_options


def control_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that choose an emulator, and `--account`.

    It gets the emulator, scoped to that account, as `emulator`."""

    @target_options
    @click.option("--account", metavar="ID", help="Account, or `*` for all. [default: the first account]")
    @functools.wraps(command)
    def controlling(selection: TargetSelection, account: Optional[str], **options: Any) -> None:
        with connected(selection.choose(), account) as emulator:
            command(emulator=emulator, **options)

    return controlling


def unscoped_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that choose an emulator, which it gets as `emulator`."""

    @target_options
    @functools.wraps(command)
    def controlling(selection: TargetSelection, **options: Any) -> None:
        with connected(selection.choose()) as emulator:
            command(emulator=emulator, **options)

    return controlling


@contextmanager
def connected(target: Target, account: Optional[str] = None) -> Iterator[RemoteEmulator]:
    """Connect to the emulator, scoped to an account. Its errors become the command's."""
    try:
        with plain_warnings(), RemoteEmulator(target.base_url, target.admin_key, account=account) as emulator:
            yield emulator
    except (EmulatorError, ValueError, OSError) as error:
        raise click.ClickException(str(error)) from error


def print_removed(count: int) -> None:
    """Print how many a command has removed."""
    click.echo(f"removed {count}")


def require_known(kind: str, identifier: str, known: Iterable[str], where: str = "") -> None:
    """Raise ClickException unless an id is one of those that exist where the command looks."""
    ids = list(known)
    if identifier not in ids:
        raise click.ClickException(f"{kind} not found{where}: {identifier}{suggestion(identifier, ids)}")


def scope_of(emulator: RemoteEmulator) -> str:
    """Where a command looks, for an error's text."""
    selected = emulator.selected_account
    return "" if selected in (None, "*") else f" in account {selected}"


def add_list_commands(
    group: click.Group,
    noun: str,
    collection: Callable[[RemoteEmulator], Union[Faults, Commands, Agents, Prepared, Repos]],
    name: str = "",
    find: Callable[[RemoteEmulator, str], Optional[str]] = lambda emulator, given: None,
) -> None:
    """Add the commands that are the same for each kind of control: list, remove, clear.

    Args:
        group: Where they are added.
        noun: What one control is called.
        collection: Returns the controls of an emulator.
        name: What may be given in place of an id, such as a URL; empty for nothing.
        find: Returns the id of the control of the account that has such a name.
    """
    by = f"its ID or {name}" if name else "its ID"

    @group.command(
        "list",
        help=f"List each {noun} that applies to the account, in the order in which they are tried (`--account '*'`:"
        " every one).",
    )
    @described_options(ControlQuery)
    @json_option
    @control_options
    def list_controls(emulator: RemoteEmulator, as_json: bool, **options: Any) -> None:
        show(collection(emulator).list(**options), as_json)

    @group.command("remove", help=f"Remove one {noun} by {by}.")
    @click.argument("identifier", metavar=f"ID|{name}" if name else "ID")
    @control_options
    def remove(emulator: RemoteEmulator, identifier: str) -> None:
        known = collection(emulator).list(account=emulator.selected_account or "*")
        ids = [one.id for one in known]
        found = identifier if identifier in ids else find(emulator, identifier) or identifier
        require_known(noun, found, ids, scope_of(emulator))
        collection(emulator).remove(found)

    @group.command(
        "clear",
        help=f"Remove each {noun} that was added for exactly the account (`--account '*'`: every one). Prints how many"
        " were removed.",
    )
    @control_options
    def clear(emulator: RemoteEmulator) -> None:
        print_removed(collection(emulator).clear())
