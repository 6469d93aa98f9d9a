"""Options of the command line that are derived from the description of a control, a query or the settings."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import Any, Callable, Optional, Union

import click

from ..control.description import Option, options_of
from ..control.patterns import TextPattern
from ..control.values import Files, Names, RetryAfter, Text

#: The types of options on the command line, by their type in the description.
_TYPES: dict[Any, Any] = {int: int, float: float, str: str, Text: str, RetryAfter: int}


def described_options(
    description: type, method: str = "", omit: Sequence[str] = ()
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make a decorator that gives a command the options of a description.

    The command gets those that were given as keyword arguments, in the form that Python code has them: patterns as
    texts or compiled regular expressions, files as a mapping.

    Args:
        description: The dataclass that describes them.
        method: Only the options of this Python method.
        omit: Options that the command declares itself.
    """
    described = [one for one in options_of(description, method) if one.name not in omit and not one.is_local]

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def wrapped(**values: Any) -> Any:
            given = {one.name: _value(one, values) for one in described}
            return command(**values, **_given(given))

        decorated: Callable[..., Any] = wrapped
        for one in reversed(described):
            for option in reversed(_click_options(one)):
                decorated = option(decorated)
        return decorated

    return decorate


def _given(values: dict[str, Any]) -> dict[str, Any]:
    """Return the options that were given; 0 is a value."""
    return {name: value for name, value in values.items() if value is not None and value is not False}


def flag_of(one: Option) -> str:
    """The name of an option on the command line."""
    return one.flag or f"--{one.name.replace('_', '-')}"


def _click_options(one: Option) -> list[Callable[..., Any]]:
    flag, help_text = flag_of(one), allowed_help(one)
    if one.type is bool:
        return [click.option(flag, one.name, is_flag=True, help=help_text)]
    if one.type == Files:
        return [click.option(flag, one.name, multiple=True, metavar="PATH=CONTENT", help=f"{help_text} Repeatable.")]
    if one.type == Names:
        return [click.option(flag, one.name, multiple=True, metavar="NAME", help=f"{help_text} Repeatable.")]
    if one.type == TextPattern:
        regex = f"Like {flag}, as a regular expression that is searched for."
        return [
            click.option(flag, one.name, metavar="TEXT", help=help_text),
            click.option(f"{flag}-regex", f"{one.name}_regex", metavar="EXPRESSION", help=regex),
        ]
    kind = click.Choice(one.choices) if one.choices else _TYPES[one.type]
    return [click.option(flag, one.name, type=kind, help=help_text)]


def allowed_help(one: Option) -> str:
    """The help text of an option, with the range of numbers and the default."""
    notes = [one.range] if one.range and one.range.capitalize() not in one.help_text else []
    if one.default not in (None, "", False, ()) and one.default != {}:
        notes.append(f"default: {one.default}")
    return one.help_text + (f" [{'; '.join(notes)}]" if notes else "")


def _value(one: Option, values: dict[str, Any]) -> Any:
    """Take an option's value out of the values that click has parsed."""
    value = values.pop(one.name)
    if one.type == TextPattern:
        return _pattern(one, value, values.pop(f"{one.name}_regex"))
    if one.type == Names:
        return list(value) or None
    return _files(flag_of(one), value) if one.type == Files else value


def _pattern(one: Option, exact: Optional[str], regex: Optional[str]) -> Union[str, re.Pattern[str], None]:
    flag = flag_of(one)
    if exact is not None and regex is not None:
        raise click.UsageError(f"{flag} and {flag}-regex: give one of them")
    return exact if regex is None else regular_expression(regex)


def regular_expression(text: str) -> re.Pattern[str]:
    """Compile a regular expression; one that is wrong is a usage error."""
    try:
        return re.compile(text)
    except re.error as error:
        raise click.UsageError(f"{text!r} is not a regular expression: {error}") from error


def _files(flag: str, pairs: tuple[str, ...]) -> Optional[dict[str, str]]:
    if not all(pair.partition("=")[0] and "=" in pair for pair in pairs):
        raise click.UsageError(f"{flag} takes PATH=CONTENT; an empty file is PATH=")
    found = dict(pair.partition("=")[::2] for pair in pairs)
    if len(found) != len(pairs):
        raise click.UsageError(f"{flag} names the same PATH twice")
    return found or None
