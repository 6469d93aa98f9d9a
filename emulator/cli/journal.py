"""`caged-emulator journal`: the requests to a running emulator, and what happened in its sandboxes."""

from __future__ import annotations

from typing import Any

import click

from ..control.queries import CommandQuery, EventQuery, PromptQuery, RequestQuery
from ..control_client.base_emulator import BaseEmulator
from .control import control_options
from .derived_options import described_options
from .tables import json_option, show


@click.group("journal")
def command() -> None:
    """List what the running emulator has recorded, oldest first."""


@command.command("requests")
@described_options(RequestQuery)
@json_option
@control_options
def requests(emulator: BaseEmulator, as_json: bool, **options: Any) -> None:
    """List requests with their answers."""
    show(emulator.journal.requests(**options), as_json)


@command.command("commands")
@described_options(CommandQuery)
@json_option
@control_options
def commands(emulator: BaseEmulator, as_json: bool, **options: Any) -> None:
    """List commands, by whatever way they came into a sandbox."""
    show(emulator.journal.commands(**options), as_json)


@command.command("prompts")
@described_options(PromptQuery)
@json_option
@control_options
def prompts(emulator: BaseEmulator, as_json: bool, **options: Any) -> None:
    """List prompts to agents, with their replies."""
    show(emulator.journal.prompts(**options), as_json)


@command.command("events")
@described_options(EventQuery)
@json_option
@control_options
def events(emulator: BaseEmulator, as_json: bool, **options: Any) -> None:
    """List events as the platform records them."""
    show(emulator.journal.events(**options), as_json)


@command.command("clear")
@control_options
def clear(emulator: BaseEmulator) -> None:
    """Remove all entries."""
    emulator.journal.clear()
