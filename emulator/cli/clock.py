"""`caged-emulator clock`: the time of a running emulator."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Optional

import click

from ..control.clock import Advance, Tick
from ..control_client.base_emulator import BaseEmulator
from .control import control_options
from .derived_options import described_options
from .terminal_output import progress


@click.group("clock")
def command() -> None:
    """Show, freeze and advance the clock of the running emulator."""


def _show(now: datetime, emulator: BaseEmulator) -> None:
    click.echo(f"{now.isoformat()}{' (frozen)' if emulator.clock.frozen else ''}")


@command.command("now")
@control_options
def now(emulator: BaseEmulator) -> None:
    """Print the time."""
    _show(emulator.clock.now(), emulator)


@command.command("freeze")
@click.argument("at", required=False)
@control_options
def freeze(emulator: BaseEmulator, at: Optional[str]) -> None:
    """Freeze the clock, now or at AT (2030-01-01T00:00:00Z)."""
    _show(emulator.clock.freeze(at), emulator)


@command.command("unfreeze")
@control_options
def unfreeze(emulator: BaseEmulator) -> None:
    """Resume the clock from its current time."""
    _show(emulator.clock.unfreeze(), emulator)


@command.command("advance")
@described_options(Advance)
@control_options
def advance(emulator: BaseEmulator, **options: Any) -> None:
    """Advance the clock. Return when everything that becomes due has happened."""
    if not options:
        raise click.UsageError("nothing to advance by: give one or more of --seconds, --minutes, --hours, --days")
    with progress("moving the time on"):
        moment = emulator.clock.advance(**options)
    _show(moment, emulator)


@command.command("tick")
@described_options(Tick)
@control_options
def tick(emulator: BaseEmulator, **options: Any) -> None:
    """Move the time on by a second."""
    _show(emulator.clock.tick(**options), emulator)


@command.command("reset")
@control_options
def reset(emulator: BaseEmulator) -> None:
    """Return to the emulator's own time."""
    _show(emulator.clock.reset(), emulator)
