"""What the commands that control a running emulator have in common."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Callable, Optional

import click

from ..control.names import suggestion
from ..control_client.remote import RemoteEmulator
from ..control_client.transport import EmulatorError
from .target import Target, TargetSelection, plain_warnings, target_options


def control_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that choose an emulator, and `--account`; the command gets the emulator, scoped to that account, as
    `emulator`."""

    @target_options
    @click.option("--account", metavar="ID", help="Whose; `*` for all. [the first account]")
    @functools.wraps(command)
    def controlling(selection: TargetSelection, account: Optional[str], **options: Any) -> None:
        with connected(selection.choose(), account) as emulator:
            command(emulator=emulator, **options)

    return controlling


def unscoped_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """As `control_options`, for a command that is about no account."""

    @target_options
    @functools.wraps(command)
    def controlling(selection: TargetSelection, **options: Any) -> None:
        with connected(selection.choose()) as emulator:
            command(emulator=emulator, **options)

    return controlling


@contextmanager
def connected(target: Target, account: Optional[str] = None) -> Iterator[RemoteEmulator]:
    """The emulator, scoped to an account; what it refuses becomes the command's error."""
    try:
        with plain_warnings(), RemoteEmulator(target.base_url, target.admin_key, account=account) as emulator:
            yield emulator
    except (EmulatorError, ValueError, OSError) as error:
        raise click.ClickException(str(error)) from error


def given(options: dict[str, Any]) -> dict[str, Any]:
    """The options that were given."""
    return {name: value for name, value in options.items() if value is not None and value is not False}


def require_known(kind: str, identifier: str, known: Iterable[str], where: str = "") -> None:
    """ClickException when an id is not one of those that exist where the command looks."""
    ids = list(known)
    if identifier not in ids:
        raise click.ClickException(f"{kind} not found{where}: {identifier}{suggestion(identifier, ids)}")


def scope_of(emulator: RemoteEmulator) -> str:
    """Where a command looks, for an error's text."""
    selected = emulator.selected_account
    return "" if selected in (None, "*") else f" in account {selected}"
