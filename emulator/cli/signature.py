"""Options of a command that are those of a function: the same names, types and defaults, so that what can be called can
be typed."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from typing import Any, Callable

import click

#: By the text of the annotation. Closed sets are checked by the emulator, whose sentence says what is allowed.
_TYPES: dict[str, Any] = {
    "int": int,
    "float": float,
    "str": str,
    "IdOrObject": str,
    "RetryAfter": int,
    "AgentName": str,
    "CommandSource": str,
    "Drop": str,
    "EventType": str,
    "OperationName": str,
    "Outcome": str,
    "Union[float, timedelta]": float,
    "Union[float, timedelta, None]": float,
}


def options_of(function: Callable[..., Any], leave: Sequence[str] = ()) -> Callable[[Any], Any]:
    """A decorator. Parameters in `leave`, and those that no text can be (functions, mappings), get no option. What is
    not given is None, or False for a flag."""
    options = []
    for name, parameter in inspect.signature(function).parameters.items():
        annotation = re.sub(r"^Optional\[(.*)\]$", r"\1", str(parameter.annotation))
        flag = annotation == "bool"
        if name in ("self", "account", *leave) or not (flag or annotation in _TYPES):
            continue
        dashed = f"--{name.replace('_', '-')}"
        default = parameter.default
        hint = None if default in (None, "", False, inspect.Parameter.empty) else f"[{default}]"
        if flag:
            options.append(click.option(dashed, name, is_flag=True, help=hint))
        else:
            options.append(click.option(dashed, name, type=_TYPES[annotation], help=hint))

    def decorate(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate
