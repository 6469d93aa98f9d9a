"""Patterns as options: `--args GLOB`, or `--args-regex EXPRESSION`."""

from __future__ import annotations

import re
from typing import Any, Callable, TypeVar, Union

import click

F = TypeVar("F", bound=Callable[..., Any])


def pattern_options(name: str, help: str) -> Callable[[F], F]:
    """A decorator for the two options of a pattern; `pattern_of` reads them."""

    def decorate(command: F) -> F:
        regex = click.option(f"--{name}-regex", metavar="EXPRESSION", help=f"{help}, by a regular expression.")
        exact = click.option(f"--{name}", metavar="TEXT", help=f"{help}: the exact text, or a glob with *.")
        return exact(regex(command))

    return decorate


def pattern_of(options: dict[str, Any], name: str) -> Union[str, re.Pattern[str], None]:
    """The pattern that was given; its options are taken out of `options`."""
    exact, regex = options.pop(name), options.pop(f"{name}_regex")
    if exact is not None and regex is not None:
        raise click.UsageError(f"--{name} and --{name}-regex: give one of them")
    return exact if regex is None else regular_expression(regex)


def regular_expression(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise click.UsageError(f"{text!r} is not a regular expression: {error}") from error
