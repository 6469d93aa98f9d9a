"""Which of the running emulators a command means."""

from __future__ import annotations

from typing import Any, Callable, Optional, TypeVar

import click

from ..running import Found, looked_in, running

F = TypeVar("F", bound=Callable[..., Any])


def target_options(command: F) -> F:
    """--port and --pid, for `choose`."""
    command = click.option("--pid", type=int, help="The one with this process number.")(command)
    return click.option("--port", type=int, help="The one that listens on this port.")(command)


def nobody_runs() -> click.ClickException:
    return click.ClickException(
        "no emulator of yours is running; start one with `caged-emulator serve`, or run a command with one of its own:"
        f" `caged-emulator exec -- COMMAND` (looked in {looked_in()})"
    )


def choose(port: Optional[int], pid: Optional[int]) -> Found:
    """The one that is meant. An error with exit code 1, which tells what to do, when there is none or more than one."""
    found = running()
    if not found:
        raise nobody_runs()
    fitting = [one for one in found if port in (None, one.port) and pid in (None, one.pid)]
    if len(fitting) == 1:
        return fitting[0]
    listed = "\n".join(f"  --pid {one.pid}  --port {one.port}  {one.base_url} ({one.kind})" for one in fitting or found)
    if fitting:
        raise click.ClickException(f"{len(fitting)} emulators are running; say which with --port or --pid:\n{listed}")
    meant = " and ".join(
        text for value, text in ((port, f"port {port}"), (pid, f"process number {pid}")) if value is not None
    )
    raise click.ClickException(f"no emulator of yours has {meant}; running are:\n{listed}")
