"""The settings of an emulator as options of the commands that start one.

Each option has the name of an argument of `EmulatorConfig.make`.
"""

from __future__ import annotations

from typing import Any, Callable, TypeVar

import click

from ..config import BUDGET_ACTIONS, ISOLATION_LEVELS, MEMORY_LIMITS, TIERS, ConfigError, EmulatorConfig

F = TypeVar("F", bound=Callable[..., Any])


def emulator_options(port: int) -> Callable[[F], F]:
    """Add the options of an emulator to a command.

    Args:
        port: The default of `--port`.
    """
    options = (
        click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on."),
        click.option(
            "--port", default=port, show_default=True, type=int, help="Port to listen on; 0 chooses a free one."
        ),
        click.option(
            "--api-key", envvar="CAGED_EMULATOR_API_KEY", help="API key of the first account. [default: random]"
        ),
        click.option("--admin-key", envvar="CAGED_EMULATOR_ADMIN_KEY", help="Key of the admin API. [default: random]"),
        click.option(
            "--isolation", type=click.Choice(ISOLATION_LEVELS), help="How sandboxes are isolated. [default: auto]"
        ),
        click.option(
            "--state-dir",
            type=click.Path(file_okay=False),
            help="Directory in which accounts and sandboxes survive the end. [default: none]",
        ),
        click.option("--seed", type=int, help="Makes ids and random choices the same in every run."),
        click.option(
            "--tier",
            type=click.Choice(TIERS),
            help="Turn the rate and plan limits of this plan on. [default: no limits]",
        ),
        click.option(
            "--budget-action",
            type=click.Choice(BUDGET_ACTIONS),
            default="pause",
            show_default=True,
            help="What happens to a sandbox whose budget is used up.",
        ),
        click.option(
            "--allow-host",
            "allow_hosts",
            multiple=True,
            metavar="NAME",
            help="A further name to accept in the Host header. Repeatable.",
        ),
        click.option(
            "--allow-unenforced",
            is_flag=True,
            help="Create sandboxes although the isolation cannot enforce their network mode.",
        ),
        click.option(
            "--limits/--no-limits",
            default=True,
            show_default=True,
            help="Limit memory, cores and processes of sandboxes.",
        ),
        click.option(
            "--memory-limit",
            type=click.Choice(MEMORY_LIMITS),
            default="process",
            show_default=True,
            help="Whether memory_mb limits each process or the whole sandbox (control groups).",
        ),
        click.option(
            "--scenario",
            type=click.Path(dir_okay=False),
            help="A file (TOML, YAML, JSON) with what exists from the start; `init` writes one.",
        ),
    )

    def decorate(command: F) -> F:
        for option in reversed(options):  # as decorators one above the other, the help shows the first first
            command = option(command)
        return command

    return decorate


def config_from(settings: dict[str, Any]) -> EmulatorConfig:
    """Make the settings from options.

    Raises:
        click.UsageError: A setting cannot be used.
    """
    try:
        return EmulatorConfig.make(**settings)
    except ConfigError as error:
        raise click.UsageError(str(error)) from error
