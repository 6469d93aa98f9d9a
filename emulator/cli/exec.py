"""`caged-emulator exec`: an emulator around one command."""

from __future__ import annotations

import logging
import os
import secrets
import signal
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Optional

import click

from .options import config_from, emulator_options
from .terminal_output import progress

if TYPE_CHECKING:
    from ..config import EmulatorConfig
    from .recording import Recording

STOP_LIMIT = 30.0
#: An environment variable of the command, which everything that it starts inherits.
MARK = "CAGED_EMULATOR_RUN"
_STARTING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@click.command("exec", context_settings={"allow_interspersed_args": False})
@emulator_options(port=0)
@click.option(
    "-v", "--verbose", is_flag=True, help="Print the emulator's whole log to stderr, not only its warnings and errors."
)
@click.argument("words", nargs=-1, required=True, type=click.UNPROCESSED, metavar="[--] COMMAND...")
def command(words: tuple[str, ...], verbose: bool, **settings: Any) -> None:
    """Run a command with an emulator of its own, and stop that afterwards.

    The command finds CAGED_BASE_URL, CAGED_API_KEY, CAGED_EMULATOR_URL and CAGED_EMULATOR_ADMIN_KEY in its
    environment, has the terminal and gets the signals. The exit code is the command's: 128 + n when signal n ended
    it, 127 when there is no such program, 126 when it cannot be run. Ctrl-C twice within 2 s ends everything at once.

        caged-emulator exec --seed 1 -- npm test
    """
    raise SystemExit(run(words, config_from(settings), verbose))


def run(
    words: Sequence[str], config: EmulatorConfig, is_verbose: bool = False, recording: Optional[Recording] = None
) -> int:
    """Run a command with an emulator of its own, and stop that afterwards.

    Args:
        words: The program and its arguments.
        config: The emulator's settings.
        is_verbose: Print the emulator's whole log, not only its warnings and errors.
        recording: What records everything that happens on the emulator.

    Returns:
        The exit code of the command; 1 where it is 0 and the emulator has ended before it.

    Raises:
        click.ClickException: The emulator does not start.
        SystemExit: A signal arrived before the command was started.
    """
    from .background_emulator import SCENARIO_LIMIT, START_LIMIT, BackgroundEmulator
    from .supervisor import CommandNotStarted, InterruptedTwice, Supervisor

    for number in _STARTING:
        if signal.getsignal(number) != signal.SIG_IGN:
            # Until there is a command to forward to: leave by an exception, which ends the emulator.
            signal.signal(number, lambda number, _frame: sys.exit(128 + number))
    mark = secrets.token_hex(16)
    level = logging.NOTSET if is_verbose else logging.WARNING
    emulator = BackgroundEmulator.start(config, f"{MARK}={mark}", level, recording)
    has_ended = False

    def check_emulator() -> None:
        nonlocal has_ended
        code = emulator.exit_code()
        if code is not None and not has_ended:
            has_ended = True
            click.echo(
                f"Error: the emulator has ended ({_describe_exit(code)}); the command goes on without it", err=True
            )

    try:
        with progress("starting the emulator" if config.scenario is None else "loading the scenario"):
            variables = emulator.variables(START_LIMIT if config.scenario is None else SCENARIO_LIMIT)
        supervisor = Supervisor()
        try:
            code = supervisor.run(words, _environment({**variables, MARK: mark}), check_emulator)
            check_emulator()
            emulator.request_stop()
            supervisor.wait_for(lambda: emulator.exit_code() is not None, STOP_LIMIT)
        except InterruptedTwice:
            code = 128 + signal.SIGINT
        except CommandNotStarted as error:
            click.echo(f"Error: {error}", err=True)
            code = error.code
    finally:
        emulator.abandon()
        if not emulator.wait(STOP_LIMIT):
            click.echo(f"Error: the emulator did not end within {STOP_LIMIT:g} s and was killed", err=True)
            emulator.kill()
    # A command that succeeded without its emulator is not a success.
    return code or int(has_ended)


def _environment(variables: dict[str, str]) -> dict[str, str]:
    """This process's environment with the variables that lead to the emulator, past any proxy."""
    environment = {**os.environ, **variables}
    for name in ("NO_PROXY", "no_proxy"):
        listed = [part.strip() for part in environment.get(name, "").split(",") if part.strip()]
        if "*" not in listed:
            listed += [host for host in ("127.0.0.1", "localhost") if host not in listed]
        environment[name] = ",".join(listed)
    return environment


def _describe_exit(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"
