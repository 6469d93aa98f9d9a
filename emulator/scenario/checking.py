"""Checking a scenario before anything is made: each key of an entry is an option of the call that makes it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Collection, Mapping
from typing import Any, Callable

from caged._resources.account import AccountAPI
from caged._resources.sandboxes import Sandboxes

from ..control.names import suggestion
from ..control_client.agents import Agent
from ..control_client.clock import Clock
from ..control_client.commands import Commands
from ..control_client.faults import Faults
from ..platform import limits
from .reading import Scenario, ScenarioError

#: Keys of a sandbox's entry besides the options of `sandboxes.create`.
OWN_KEYS = ("name", "files", "commands", "state")
STATES = ("running", "paused")
AGENT_KEYS = ("replies", "reply_to", "passthrough")


def check(scenario: Scenario) -> None:
    """Raise ScenarioError for the first name that does not exist, or is missing; it names the entry."""
    if scenario.clock:
        _options("clock", scenario.clock, Clock.freeze, {"freeze": "at"}, needed=["freeze"])
        if isinstance(scenario.clock["freeze"], bool):
            raise ScenarioError('clock: freeze: must be a moment, such as "2030-01-01T00:00:00Z"')
    for index, entry in enumerate(scenario.keys):
        _options(f"keys[{index}]", entry, AccountAPI.create_key)
    for index, entry in enumerate(scenario.stubs):
        _pattern_options(f"stubs[{index}]", entry, Commands.stub, "match")
    for index, entry in enumerate(scenario.programs):
        _pattern_options(f"programs[{index}]", entry, Commands.program, "args", "stdin")
    for name, table in scenario.agents.items():
        _agent(name, table)
    for index, entry in enumerate(scenario.sandboxes):
        _sandbox(f"sandboxes[{index}]", entry)
    _unique([("sandboxes", entry) for entry in scenario.sandboxes if "name" in entry])
    _unique([("keys", entry) for entry in scenario.keys])
    for index, entry in enumerate(scenario.faults):
        _options(f"faults[{index}]", entry, Faults.add)


def sandbox_names(scenario: Scenario) -> list[str]:
    """The names by which a result and the scenario's faults and stubs refer to its sandboxes."""
    return [entry.get("name", f"sandbox-{index + 1}") for index, entry in enumerate(scenario.sandboxes)]


def _options(
    place: str,
    entry: Mapping[str, Any],
    function: Callable[..., Any],
    renamed: Mapping[str, str] = {},
    more: Collection[str] = (),
    needed: Collection[str] = (),
) -> None:
    """Check an entry's keys against a function's parameters. `renamed`: keys that stand for a parameter of another
    name. `more`: further keys. `needed`: keys that the function would do without."""
    parameters = {
        name: parameter
        for name, parameter in inspect.signature(function).parameters.items()
        if name != "self" and parameter.kind is not inspect.Parameter.VAR_KEYWORD
    }
    known = [*renamed, *(name for name in parameters if name not in renamed.values()), *more]
    for key in entry:
        if key not in known:
            raise ScenarioError(f"{place}: {key}: unknown{suggestion(key, known)}")
    given = {renamed.get(key, key) for key in entry}
    required = [name for name, parameter in parameters.items() if parameter.default is inspect.Parameter.empty]
    for name in [*needed, *required]:
        if name not in entry and name not in given:
            raise ScenarioError(f"{place}: {name} is missing")


def _pattern_options(place: str, entry: Mapping[str, Any], function: Callable[..., Any], *names: str) -> None:
    """As `_options`, for a call whose parameters `names` are patterns: a text, or `{ regex = "…" }`."""
    _options(place, entry, function)
    for name in names:
        if isinstance(entry.get(name, ""), str):
            continue
        table = entry[name]
        if not isinstance(table, dict) or set(table) != {"regex"} or not isinstance(table["regex"], str):
            raise ScenarioError(f'{place}: {name}: must be a text or {{ regex = "..." }}, not {table!r}')
        try:
            re.compile(table["regex"])
        except re.error as error:
            raise ScenarioError(f"{place}: {name}: {table['regex']!r} is not a regular expression: {error}") from error


def _agent(name: str, table: Any) -> None:
    place = f"agents.{name}"
    if limits.agent_name(name) is None:
        raise ScenarioError(f"{place}: agent {name!r} does not exist{suggestion(name, limits.agent_names())}")
    if not isinstance(table, dict):
        raise ScenarioError(f"{place}: must be a table with {', '.join(AGENT_KEYS)}")
    for key in table:
        if key not in AGENT_KEYS:
            raise ScenarioError(f"{place}: {key}: unknown{suggestion(key, AGENT_KEYS)}")
    if not isinstance(table.get("passthrough", False), bool):
        raise ScenarioError(f"{place}: passthrough: must be true or false")
    for key in ("replies", "reply_to"):
        if not isinstance(table.get(key, []), list):
            raise ScenarioError(f"{place}: {key}: must be a list")
    for index, entry in enumerate(table.get("reply_to", ())):
        inner = f"{place}.reply_to[{index}]"
        _pattern_options(inner, _table(inner, entry), Agent.reply_to, "prompt")
    for index, entry in enumerate(table.get("replies", ())):
        inner = f"{place}.replies[{index}]"
        _options(inner, {"text": entry} if isinstance(entry, str) else _table(inner, entry), Agent.reply)


def _table(place: str, entry: Any) -> Mapping[str, Any]:
    if not isinstance(entry, dict):
        raise ScenarioError(f"{place}: must be a table, not {type(entry).__name__}")
    return entry


def _sandbox(place: str, entry: Mapping[str, Any]) -> None:
    _options(place, entry, Sandboxes.create, more=OWN_KEYS)
    commands = entry.get("commands", [])
    if not (isinstance(commands, list) and all(isinstance(command, str) for command in commands)):
        raise ScenarioError(f"{place}: commands: must be a list of texts")
    state = entry.get("state", "running")
    if state not in STATES:
        raise ScenarioError(f"{place}: state: {state!r} is unknown; use {' or '.join(STATES)}")


def _unique(entries: list[tuple[str, Mapping[str, Any]]]) -> None:
    names = [entry["name"] for _kind, entry in entries]
    for kind, entry in entries:
        name = entry["name"]
        if not isinstance(name, str) or names.count(name) > 1:
            raise ScenarioError(f"{kind}: the name {name!r} must be a text, and only one entry's")


__all__ = ["check", "sandbox_names"]
