"""The settings of an emulator as options of every command that starts one; each is an argument of
EmulatorConfig.make, under the same name."""

from __future__ import annotations

from typing import Any, Callable, TypeVar

import click

from ..config import BUDGET_ACTIONS, ISOLATION_LEVELS, MEMORY_LIMITS, TIERS, ConfigError, EmulatorConfig

F = TypeVar("F", bound=Callable[..., Any])


def emulator_options(port: int) -> Callable[[F], F]:
    """Gives a command the options of an emulator. `port`: where it listens if nobody says so."""
    options = (
        click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on."),
        click.option("--port", default=port, show_default=True, type=int, help="Port to listen on; 0: a free one."),
        click.option("--api-key", envvar="CAGED_EMULATOR_API_KEY", help="Key of the first account [random]."),
        click.option("--admin-key", envvar="CAGED_EMULATOR_ADMIN_KEY", help="Key of its controls [random]."),
        click.option("--isolation", type=click.Choice(ISOLATION_LEVELS), help="How sandboxes are isolated off."),
        click.option(
            "--state-dir", type=click.Path(file_okay=False), help="Keeps everything there beyond the end [nothing]."
        ),
        click.option("--seed", type=int, help="Makes ids the same on every run."),
        click.option("--tier", type=click.Choice(TIERS), help="Turns that plan's rate and plan limits on."),
        click.option("--budget-action", type=click.Choice(BUDGET_ACTIONS), default="pause", show_default=True),
        click.option(
            "--allow-host",
            "allow_hosts",
            multiple=True,
            metavar="NAME",
            help="A name to accept in the Host header. Repeatable.",
        ),
        click.option(
            "--allow-unenforced", is_flag=True, help="Create sandboxes whose network mode cannot be enforced."
        ),
        click.option("--limits/--no-limits", default=True, show_default=True, help="Limit memory, cores, processes."),
        click.option("--memory-limit", type=click.Choice(MEMORY_LIMITS), default="process", show_default=True),
        click.option(
            "--scenario",
            type=click.Path(dir_okay=False),
            help="What is there from the start (TOML, YAML, JSON); `init` writes one.",
        ),
    )

    def decorate(command: F) -> F:
        for option in reversed(options):  # as decorators one above the other, the help shows the first first
            command = option(command)
        return command

    return decorate


def config_from(settings: dict[str, Any]) -> EmulatorConfig:
    """A setting that cannot be used is a usage error."""
    try:
        return EmulatorConfig.make(**settings)
    except ConfigError as error:
        raise click.UsageError(str(error)) from error
