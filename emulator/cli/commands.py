"""`caged-emulator commands`: stubs of commands and programs in a running emulator."""

from __future__ import annotations

from typing import Any

import click

from ..control.stubs import Stub
from ..control_client.remote import RemoteEmulator
from .control import add_list_commands, control_options
from .derived_options import described_options, regular_expression


@click.group("commands")
def command() -> None:
    """Answer commands and programs in sandboxes instead of running them."""


@command.command("stub")
@click.argument("match")
@click.option("--regex", is_flag=True, help="MATCH is a regular expression, searched for in the command.")
@described_options(Stub, "stub", omit=["match"])
@control_options
def stub(emulator: RemoteEmulator, match: str, regex: bool, **options: Any) -> None:
    """Answer the command MATCH: its whole text, or a glob with *. Prints the stub's id."""
    click.echo(emulator.commands.stub(regular_expression(match) if regex else match, **options).id)


@command.command("program")
@click.argument("program")
@described_options(Stub, "program", omit=["program"])
@control_options
def program(emulator: RemoteEmulator, program: str, **options: Any) -> None:
    """Answer PROGRAM wherever it is called, also inside scripts. Prints the stub's id."""
    click.echo(emulator.commands.program(program, **options).id)


add_list_commands(command, "stub", lambda emulator: emulator.commands)
