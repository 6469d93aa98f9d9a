"""`caged-emulator logs`: a running emulator's own log."""

from __future__ import annotations

from typing import Optional

import click

from ..logfile import follow, tail
from .target import choose, target_options


@click.command("logs")
@target_options
@click.option(
    "-n", "--lines", default=100, show_default=True, type=click.IntRange(min=0), help="How many of the newest."
)
@click.option("-f", "--follow", "following", is_flag=True, help="Go on until the emulator ends.")
def command(port: Optional[int], pid: Optional[int], lines: int, following: bool) -> None:
    """Print the running emulator's own log."""
    found = choose(port, pid)
    try:
        if following:
            for line in follow(found.log_file, lines, lambda: found.alive):
                click.echo(line)
        else:
            for line in tail(found.log_file, lines):
                click.echo(line)
    except FileNotFoundError:
        raise click.ClickException(f"{found.base_url} has no log any more: it has just ended") from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
