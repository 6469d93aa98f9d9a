"""`caged-emulator commands`: what a running emulator answers instead of running it."""

from __future__ import annotations

from typing import Any

import click

from ..control_client.commands import Commands
from ..control_client.remote import RemoteEmulator
from .control import control_options, given, require_known, scope_of
from .patterns import pattern_of, pattern_options, regular_expression
from .signature import options_of


@click.group("commands")
def command() -> None:
    """Answer commands and programs in sandboxes instead of running them."""


@command.command("stub")
@click.argument("match")
@click.option("--output", default="", help="What it prints.")
@click.option("--regex", is_flag=True, help="MATCH is a regular expression, searched for in the command.")
@options_of(Commands.stub, leave=["match", "output", "allow_errors"])
@control_options
def stub(emulator: RemoteEmulator, match: str, output: str, regex: bool, **options: Any) -> None:
    """Answer the command MATCH: its whole text, or a glob with *. Prints the stub's id."""
    pattern = regular_expression(match) if regex else match
    click.echo(emulator.commands.stub(pattern, output, **given(options)).id)


@command.command("program")
@click.argument("name")
@click.option("--output", default="", help="What it prints.")
@pattern_options("args", "Only with these arguments")
@pattern_options("stdin", "Only with this input")
@options_of(Commands.program, leave=["program", "output", "args", "stdin", "allow_errors"])
@control_options
def program(emulator: RemoteEmulator, name: str, output: str, **options: Any) -> None:
    """Answer the program NAME wherever it is called, also inside scripts. Prints the stub's id."""
    patterns = {field: pattern_of(options, field) for field in ("args", "stdin")}
    click.echo(emulator.commands.program(name, output, **given({**options, **patterns})).id)


@command.command("list")
@control_options
def listed(emulator: RemoteEmulator) -> None:
    """In the order in which they are tried."""
    for one in emulator.commands.list():
        click.echo(str(one))


@command.command("remove")
@click.argument("stub_id", metavar="ID")
@control_options
def remove(emulator: RemoteEmulator, stub_id: str) -> None:
    """The next such command really runs."""
    known = emulator.commands.list(account=emulator.selected_account or "*")
    require_known("stub", stub_id, [one.id for one in known], scope_of(emulator))
    emulator.commands.remove(stub_id)


@command.command("clear")
@control_options
def clear(emulator: RemoteEmulator) -> None:
    """Remove all."""
    emulator.commands.clear()
