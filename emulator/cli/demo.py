"""`caged-emulator demo`: runs the examples of the SDK's page."""

from __future__ import annotations

import click


@click.command("demo")
def command() -> None:
    """Run the examples of the SDK's public page against a temporary emulator, and print each."""
    from ..demo import run

    raise SystemExit(run())
