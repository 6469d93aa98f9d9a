"""`caged-emulator demo`: everything once."""

from __future__ import annotations

import click


@click.command("demo")
def command() -> None:
    """Run the examples of the SDK's public page against an emulator of its own, visibly."""
    from ..demo import run

    raise SystemExit(run())
