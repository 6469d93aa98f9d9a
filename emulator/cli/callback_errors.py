"""`caged-emulator callback-errors`: exceptions of functions that a test registered with a running emulator."""

from __future__ import annotations

from typing import Any

import click

from ..control.queries import CallbackErrorQuery
from ..control_client.base_emulator import BaseEmulator
from .control import control_options, print_removed
from .derived_options import described_options
from .tables import json_option, show


@click.group("callback-errors")
def command() -> None:
    """List or clear exceptions that functions of stubs, programs and agents' replies raised."""


@command.command("list")
@described_options(CallbackErrorQuery)
@json_option
@control_options
def list_errors(emulator: BaseEmulator, as_json: bool, **options: Any) -> None:
    """List the exceptions, oldest first."""
    show(emulator.callback_errors(**options), as_json)


@command.command("clear")
@control_options
def clear(emulator: BaseEmulator) -> None:
    """Remove the exceptions, so that they do not fail the test. Prints how many were removed."""
    print_removed(emulator.clear_callback_errors())
