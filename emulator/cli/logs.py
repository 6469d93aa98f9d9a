"""`caged-emulator logs`: a running emulator's own log."""

from __future__ import annotations

import click

from ..logfile import follow, tail
from .target import Target, TargetSelection, target_options


@click.command("logs")
@target_options
@click.option(
    "-n", "--last", default=100, show_default=True, type=click.IntRange(min=0), help="Only the newest so many."
)
@click.option("-f", "--follow", "following", is_flag=True, help="Go on until the emulator ends.")
def command(selection: TargetSelection, last: int, following: bool) -> None:
    """Print the running emulator's own log."""
    target = selection.choose()
    if target.found is None:
        _print_remote(target, last, following)
        return
    found = target.found
    try:
        if following:
            for line in follow(found.log_file, last, lambda: found.is_alive):
                click.echo(line)
        else:
            for line in tail(found.log_file, last):
                click.echo(line)
    except FileNotFoundError:
        raise click.ClickException(f"{found.base_url} has no log: it has just ended") from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def _print_remote(target: Target, last: int, following: bool) -> None:
    """The log of an emulator whose file cannot be read here, as far as it keeps it in memory."""
    from .control import connected

    if following:
        raise click.UsageError("--follow reads the log's file; use it where the emulator runs")
    with connected(target) as emulator:
        for line in emulator.log_tail(last) if last else ():
            click.echo(line)
