"""`caged-emulator journal`: what was asked of a running emulator, and what happened."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

import click

from ..control_client.base_emulator import BaseEmulator
from ..control_client.journal import Journal
from .control import control_options, given
from .signature import options_of

_as_json = click.option("--json", "as_json", is_flag=True, help="One JSON object a line, with everything.")


@click.group("journal")
def command() -> None:
    """Look at what was asked of the running emulator. Oldest first."""


def _print(entries: Sequence[Any], as_json: bool) -> None:
    for entry in entries:
        click.echo(json.dumps(dataclasses.asdict(entry)) if as_json else str(entry))


@command.command("requests")
@options_of(Journal.requests)
@_as_json
@control_options
def requests(emulator: BaseEmulator, as_json: bool, **options: Any) -> None:
    """Requests with their answers. `--path` and `--operation` are patterns."""
    _print(emulator.journal.requests(**given(options)), as_json)


@command.command("commands")
@options_of(Journal.execs)
@_as_json
@control_options
def commands(emulator: BaseEmulator, as_json: bool, **options: Any) -> None:
    """Commands, by whatever way they came."""
    _print(emulator.journal.execs(**given(options)), as_json)


@command.command("prompts")
@options_of(Journal.prompts)
@_as_json
@control_options
def prompts(emulator: BaseEmulator, as_json: bool, **options: Any) -> None:
    """What agents were asked."""
    _print(emulator.journal.prompts(**given(options)), as_json)


@command.command("events")
@options_of(Journal.events)
@_as_json
@control_options
def events(emulator: BaseEmulator, as_json: bool, **options: Any) -> None:
    """What the platform records."""
    _print(emulator.journal.events(**given(options)), as_json)


@command.command("clear")
@control_options
def clear(emulator: BaseEmulator) -> None:
    """Forget it."""
    emulator.journal.clear()
