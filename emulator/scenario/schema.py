"""The schema of scenario files: models of their entries, and the errors of entries that do not fit.

An entry is a call. The entries of stubs, programs, replies, faults, fake repositories and prepared sandboxes have
the options of the control, from its description; those of sandboxes and keys have the arguments of the SDK's functions.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from typing import Any, Callable, Literal, Optional, Union, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from caged._resources.account import AccountAPI
from caged._resources.sandboxes import Sandboxes

from ..config import ConfigError
from ..control.agent_replies import ScriptedReply
from ..control.description import Option, build, options_of
from ..control.faults import Fault
from ..control.names import suggestion
from ..control.patterns import TextPattern
from ..control.prepared import PreparedSandbox
from ..control.repositories import Repository
from ..control.schema import options_model, values_in
from ..control.stubs import Stub
from ..control.values import Files, Names, RepositorySource, RetryAfter, Text

States = Literal["running", "paused"]
_ACCOUNT = {"account": (Optional[str], None)}


class ScenarioError(ConfigError):
    """A scenario that cannot be used. The text names the entry and what to change."""

    __module__ = "caged.emulator"


class Entry(BaseModel):
    """An entry of a scenario: keys that it does not know are errors."""

    model_config = ConfigDict(strict=True, extra="forbid", defer_build=True)


class ClockEntry(Entry):
    """The time at which the clock stands."""

    freeze: Union[float, str]


class AgentEntry(Entry):
    """The replies of one agent."""

    replies: list[Any] = []
    reply_to: list[Any] = []
    passthrough: bool = False


#: What the values of a type are called in scenario files.
_NAMES: list[tuple[Any, str]] = [
    (bool, "true or false"),
    (int, "a whole number"),
    (float, "a number"),
    (str, "a text"),
    (TextPattern, 'a text or { regex = "..." }'),
    (Text, "a text or a list of texts"),
    (Names, "a list of texts"),
    (Files, "a table of path and content"),
    (RepositorySource, "a table of path and content, or the path of a directory"),
    (RetryAfter, "seconds or { retry_after = seconds }"),
]
#: The same for fields that no description has.
_OTHER_NAMES = {
    "freeze": 'a moment, such as "2030-01-01T00:00:00Z"',
    "replies": "a list",
    "reply_to": "a list",
    "passthrough": "true or false",
    "account": "the id of an account, or '*'",
    "commands": "a list of texts",
    "files": "a table of path and content",
    "name": "a text",
}


@functools.cache
def _control_model(description: Any, method: str) -> type[Entry]:
    return options_model(
        f"{description.__name__}Entry", description, Entry, "", method=method, required=True, more=_ACCOUNT
    )


@functools.cache
def _call_model(function: Callable[..., Any], *more: tuple[str, Any, Any]) -> type[Entry]:
    """The model of an entry with the arguments of a function of the SDK. The platform checks their values."""
    parameters = list(inspect.signature(function).parameters.values())[1:]
    fields: dict[str, Any] = {
        one.name: (Any, ... if one.default is inspect.Parameter.empty else Field(default=None)) for one in parameters
    }
    fields.update({name: (type_, default) for name, type_, default in more})
    return create_model(function.__name__, __base__=Entry, **fields)


def check_clock(place: str, entry: Mapping[str, Any]) -> None:
    """Check the table `clock`. Raises ScenarioError, as the other checks do; the text begins with `place`."""
    _validate(place, ClockEntry, entry)


def check_key(place: str, entry: Mapping[str, Any]) -> None:
    """Check an entry of `keys`."""
    _validate(place, _call_model(AccountAPI.create_key, ("name", str, ...)), entry)


def check_sandbox(place: str, entry: Mapping[str, Any]) -> None:
    """Check an entry of `sandboxes`: the options of `sandboxes.create`, and what is done in it afterwards."""
    more = (("name", str, ""), ("files", Any, None), ("commands", list[str], ()), ("state", Any, "running"))
    _validate(place, _call_model(Sandboxes.create, *more), entry)
    if entry.get("state", "running") not in get_args(States):
        raise ScenarioError(f"{place}: state: {entry['state']!r} is unknown; use {' or '.join(get_args(States))}")


def check_control(place: str, description: Any, method: str, entry: Any) -> None:
    """Check the entry of a control.

    Args:
        place: Where it stands in the file.
        description: The control's class.
        method: The Python method whose arguments it has.
        entry: The entry.
    """
    if not isinstance(entry, dict):
        raise ScenarioError(f"{place}: must be a table, not {type(entry).__name__}")
    model = _validate(place, _control_model(description, method), entry, options_of(description, method))
    state = {"agent": ""} if description is ScriptedReply else {}
    try:
        build(description, values_in(description, model), id="", account="", **state).check()
    except (TypeError, ValueError) as error:
        raise ScenarioError(f"{place}: {error}") from error


def check_agent(place: str, table: Any) -> None:
    """Check the table of one agent."""
    if not isinstance(table, dict):
        raise ScenarioError(f"{place}: must be a table with {', '.join(AgentEntry.model_fields)}")
    _validate(place, AgentEntry, table)
    for index, entry in enumerate(table.get("reply_to", ())):
        check_control(f"{place}.reply_to[{index}]", ScriptedReply, "reply_to", entry)
    for index, entry in enumerate(table.get("replies", ())):
        reply = {"text": entry} if isinstance(entry, str) else entry
        check_control(f"{place}.replies[{index}]", ScriptedReply, "reply", reply)


def check_stub(place: str, entry: Mapping[str, Any]) -> None:
    """Check an entry of `stubs`."""
    check_control(place, Stub, "stub", entry)


def check_program(place: str, entry: Mapping[str, Any]) -> None:
    """Check an entry of `programs`."""
    check_control(place, Stub, "program", entry)


def check_repository(place: str, entry: Mapping[str, Any]) -> None:
    """Check an entry of `repos`."""
    check_control(place, Repository, "add", entry)


def check_prepared(place: str, entry: Mapping[str, Any]) -> None:
    """Check an entry of `prepared`."""
    check_control(place, PreparedSandbox, "prepare", entry)
    if entry.get("from_archive") is not None:
        raise ScenarioError(f"{place}: from_archive: is not possible in a scenario; use prepare() or the command line")


def check_fault(place: str, entry: Mapping[str, Any]) -> None:
    """Check an entry of `faults`."""
    check_control(place, Fault, "add", entry)


def _validate(place: str, model: type[Entry], entry: Mapping[str, Any], options: tuple[Option, ...] = ()) -> BaseModel:
    try:
        return model.model_validate(entry)
    except ValidationError as failure:
        errors = failure.errors(include_url=False, include_context=False)
    known = list(model.model_fields)
    # A name that does not exist explains another one that is missing.
    errors.sort(key=lambda error: error["type"] != "extra_forbidden" or len(error["loc"]) > 1)
    name = str(errors[0]["loc"][0])
    if errors[0]["type"] == "extra_forbidden" and len(errors[0]["loc"]) == 1:
        raise ScenarioError(f"{place}: {name}: unknown{suggestion(name, known)}")
    if errors[0]["type"] == "missing" and len(errors[0]["loc"]) == 1:
        raise ScenarioError(f"{place}: {name} is missing")
    option = next((one for one in options if one.name == name), None)
    raise ScenarioError(f"{place}: {name}: must be {_allowed(name, option)}, not {entry[name]!r}")


def _allowed(name: str, option: Optional[Option]) -> str:
    """What the value of a key may be."""
    if option is None:
        return _OTHER_NAMES.get(name, "of another type")
    if option.choices:
        return f"one of {', '.join(map(str, option.choices))}"
    return next((text for known, text in _NAMES if option.type == known), "of another type")
