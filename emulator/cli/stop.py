"""`caged-emulator stop`: stops a running emulator."""

from __future__ import annotations

import os
import signal
import time

import click

from ..discovery import DiscoveredEmulator, find_running
from .target import TargetSelection, no_emulator_error, target_options
from .terminal_output import progress

#: An orderly end takes 30 s at most.
LIMIT = 35.0


@click.command("stop")
@target_options
@click.option("--all", "every", is_flag=True, help="Stop every running emulator of yours.")
@click.option(
    "--timeout",
    default=LIMIT,
    show_default=True,
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="How long to wait for its end.",
)
def command(selection: TargetSelection, every: bool, timeout: float) -> None:
    """Stop the running emulator and wait until it and its files are gone."""
    if every and selection.is_explicit:
        raise click.UsageError("--all stops every emulator of yours on this machine; remove the options that name one")
    targets = find_running() if every else [selection.choose().local("stop")]
    if not targets:
        raise no_emulator_error()
    failed = [one for one in targets if not _signal(one)]
    deadline = time.monotonic() + timeout
    for one in targets:
        if one in failed:
            continue
        with progress(f"stopping {one.base_url}"):
            has_ended = _ended(one, deadline)
        if has_ended:
            click.echo(f"stopped {one.base_url} (pid {one.pid})")
        else:
            failed.append(one)
            click.echo(f"Error: {_timeout_message(one, timeout)}", err=True)
    if failed:
        raise SystemExit(1)


def _signal(found: DiscoveredEmulator) -> bool:
    if not found.process_runs:
        if not found.is_alive:
            return True  # it ended meanwhile
        click.echo(
            f"Error: {found.base_url} runs where its process cannot be seen (another container?); stop it there",
            err=True,
        )
        return False
    try:
        os.kill(found.pid, signal.SIGTERM)
    except ProcessLookupError:
        pass  # it ended meanwhile
    return True


def _ended(found: DiscoveredEmulator, deadline: float) -> bool:
    while found.is_alive or found.process_runs or (found.run_dir is not None and found.run_dir.exists()):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _timeout_message(found: DiscoveredEmulator, timeout: float) -> str:
    if found.kind == "exec":
        return (
            f"the command that runs around {found.base_url} was sent SIGTERM and has not ended within {timeout:g} s;"
            f" end it yourself, or both with: kill -9 {found.pid}"
        )
    return f"{found.base_url} has not ended within {timeout:g} s; its log may say why, and kill -9 {found.pid} ends it"
