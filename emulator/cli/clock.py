"""`caged-emulator clock`: the time of a running emulator."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Optional

import click

from ..control_client.base_emulator import BaseEmulator
from ..control_client.clock import Clock
from .control import control_options, given
from .signature import options_of


@click.group("clock")
def command() -> None:
    """Look at, stop and move the time that the running emulator goes by."""


def _show(now: datetime, emulator: BaseEmulator) -> None:
    click.echo(f"{now.isoformat()}{' (frozen)' if emulator.clock.frozen else ''}")


@command.command("now")
@control_options
def now(emulator: BaseEmulator) -> None:
    """Print it."""
    _show(emulator.clock.now(), emulator)


@command.command("freeze")
@click.argument("at", required=False)
@control_options
def freeze(emulator: BaseEmulator, at: Optional[str]) -> None:
    """Stop it, now or AT a moment (2030-01-01T00:00:00Z)."""
    _show(emulator.clock.freeze(at), emulator)


@command.command("unfreeze")
@control_options
def unfreeze(emulator: BaseEmulator) -> None:
    """Let it go on from where it stands."""
    _show(emulator.clock.unfreeze(), emulator)


@command.command("advance")
@options_of(Clock.advance)
@control_options
def advance(emulator: BaseEmulator, **options: Any) -> None:
    """Move it on. What becomes due on the way has happened when this returns."""
    if not given(options):
        raise click.UsageError("say how far, by one or more of --seconds, --minutes, --hours, --days")
    _show(emulator.clock.advance(**given(options)), emulator)


@command.command("tick")
@options_of(Clock.tick)
@control_options
def tick(emulator: BaseEmulator, **options: Any) -> None:
    """Move it on by a second."""
    _show(emulator.clock.tick(**given(options)), emulator)


@command.command("reset")
@control_options
def reset(emulator: BaseEmulator) -> None:
    """Back to the emulator's own time."""
    _show(emulator.clock.reset(), emulator)
