"""The settings of an emulator as options of every command that starts one; each is derived from EmulatorConfig."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, TypeVar

import click

from ..config import ConfigError, EmulatorConfig
from ..control.description import Option, options_of
from .derived_options import allowed_help, flag_of

F = TypeVar("F", bound=Callable[..., Any])


def emulator_options(port: int) -> Callable[[F], F]:
    """Make a decorator that gives a command the settings of an emulator as options.

    Args:
        port: The default of `--port`.
    """

    def decorate(command: F) -> F:
        for one in reversed(options_of(EmulatorConfig)):  # the help shows the topmost decorator first
            command = _option(one, port if one.name == "port" else one.default)(command)
        return command

    return decorate


def _option(one: Option, default: Any) -> Callable[[F], F]:
    kind: Any = click.Choice(one.choices) if one.choices else one.type
    if one.type is Path:
        is_directory = one.name.endswith("_dir")
        kind = click.Path(file_okay=not is_directory, dir_okay=is_directory)
    # CAGED_ISOLATION and CAGED_CACHE_DIR are read where the setting is used, for Python code, too.
    environment = one.environment if one.name not in ("isolation", "cache_dir") else ""
    details: dict[str, Any] = {"envvar": environment or None, "help": allowed_help(one)}
    if one.name == "port":
        details["help"] += f" [default: {default}]"
    if one.type is bool:
        details.update(is_flag=True, default=default)
    elif isinstance(one.default, tuple):
        details.update(multiple=True, metavar="NAME", help=f"{one.help} Repeatable.")
    else:
        details.update(type=kind, default=None if one.name == "isolation" else default)
    return click.option(flag_of(one), one.name, **details)


def config_from(settings: dict[str, Any]) -> EmulatorConfig:
    """Make the settings from parsed options; one that cannot be used is a usage error."""
    try:
        return EmulatorConfig.make(**settings)
    except ConfigError as error:
        raise click.UsageError(str(error)) from error
