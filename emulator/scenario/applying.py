"""Making what a scenario says, with a test's own hands: each entry is a call of the emulator's controls or of the SDK,
with the entry's keys as options. So what can be written there is what can be called."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable

from .reading import Scenario, ScenarioError

if TYPE_CHECKING:
    from caged import Caged

    from ..double.controls import Controls


@dataclass
class Loaded:
    """What a scenario made: ids of sandboxes by their `name` (or their place: `sandbox-1`), secrets of keys by name."""

    sandboxes: dict[str, str] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)

    def variables(self) -> dict[str, str]:
        """The same for an environment: CAGED_SANDBOX_WEB, CAGED_KEY_READER."""
        every = [("CAGED_SANDBOX", self.sandboxes), ("CAGED_KEY", self.keys)]
        return {
            f"{prefix}_{re.sub('[^A-Z0-9]', '_', name.upper())}": value
            for prefix, made in every
            for name, value in made.items()
        }


def apply(scenario: Scenario, double: Controls, api_key: str) -> Loaded:
    """Makes everything, in the account that `double` acts for and whose key that is: the clock first, faults last, so
    that nothing of the scenario itself meets them. ScenarioError, naming the entry; what was made by then stays."""
    loaded = Loaded()
    if scenario.clock:
        with _at("clock"):
            double.clock.freeze(**_options(scenario.clock, "freeze", {"freeze": "at"}))
    for index, entry in enumerate(scenario.stubs):
        with _at(f"stubs[{index}]"):
            double.commands.stub(**_pattern(entry, "match"))
    for index, entry in enumerate(scenario.programs):
        with _at(f"programs[{index}]"):
            double.commands.program(**entry)
    for name, table in scenario.agents.items():
        with _at(f"agents.{name}"):
            _agent(double, name, table)
    with double.client(api_key) as client:
        for index, entry in enumerate(scenario.keys):
            with _at(f"keys[{index}]"):
                created = client.account.create_key(**entry)
                loaded.keys[created.info.name] = created.key
        for index, entry in enumerate(scenario.sandboxes):
            with _at(f"sandboxes[{index}]"):
                name = entry.get("name", f"sandbox-{index + 1}")
                loaded.sandboxes[name] = _sandbox(client, entry, scenario.folder)
    for index, entry in enumerate(scenario.faults):
        with _at(f"faults[{index}]"):
            options = dict(entry)
            if "sandbox" in options:
                options["sandbox"] = loaded.sandboxes.get(options["sandbox"], options["sandbox"])
            double.faults.add(**options)
    return loaded


@contextmanager
def _at(place: str) -> Iterator[None]:
    from caged import CagedError

    try:
        yield
    except ScenarioError as error:
        raise ScenarioError(f"{place}: {error}") from error
    except (TypeError, ValueError, KeyError, CagedError, RuntimeError, re.error) as error:
        # A TypeError is what an unknown or missing option makes of the call: its text names the option.
        said = re.sub(r"^[\w.]+[(][)] ", "", str(error))
        raise ScenarioError(f"{place}: {said}") from error


def _options(table: Mapping[str, Any], needed: str, names: Mapping[str, str]) -> dict[str, Any]:
    if needed not in table:
        raise ScenarioError(f"{needed} is missing")
    return {names.get(name, name): value for name, value in table.items()}


def _pattern(entry: Mapping[str, Any], name: str) -> dict[str, Any]:
    """`regex = "…"` in place of the pattern makes it a regular expression."""
    options = dict(entry)
    if "regex" in options:
        options[name] = re.compile(options.pop("regex"))
    return options


def _agent(double: Controls, name: str, table: Any) -> None:
    """`replies`: a list used in turn, each a text or a table of options; `reply_to`: a list of tables with `prompt` (or
    `regex`); `passthrough`."""
    if not isinstance(table, dict):
        raise ScenarioError("must be a table with replies, reply_to or passthrough")
    for key in table:
        if key not in ("replies", "reply_to", "passthrough"):
            raise ScenarioError(f"{key}: unknown; an agent has replies, reply_to and passthrough")
    agent = double.agent(name)
    if table.get("passthrough"):
        agent.passthrough()
    for entry in table.get("reply_to", ()):
        options = _pattern(entry, "prompt")
        agent.reply_to(options.pop("prompt"), **_text(options))
    for entry in table.get("replies", ()):
        agent.reply(**_text(entry))


def _text(entry: Any) -> dict[str, Any]:
    return {"text": entry} if isinstance(entry, str) else dict(entry)


def _sandbox(client: Caged, entry: Mapping[str, Any], folder: Path) -> str:
    """`name`, `files` (path -> text, or a table with `from`: a file beside the scenario), `commands` (run at the end,
    each has to succeed), `state`; everything else is an option of `sandboxes.create`."""
    options = {key: value for key, value in entry.items() if key not in ("name", "files", "commands", "state")}
    sandbox = client.sandboxes.create(**options)
    if sandbox.status != "running":
        logs = client.sandboxes.logs(sandbox.id)
        raise ScenarioError(f"the sandbox came up as {sandbox.status}: {logs[-1].message if logs else 'no log'}")
    for path, content in dict(entry.get("files", {})).items():
        if isinstance(content, dict):
            content = _file(folder / str(content.get("from", "")))
        client.files.write(sandbox.id, path, content)
    for command in entry.get("commands", ()):
        result = client.sandboxes.exec(sandbox.id, command)
        if not result.ok:
            raise ScenarioError(f"{command!r} failed with {result.exit_code}: {result.error or result.output[-500:]}")
    states: dict[str, Callable[[str], Any]] = {"paused": client.sandboxes.pause, "running": lambda _id: None}
    wanted = entry.get("state", "running")
    if wanted not in states:
        raise ScenarioError(f"state: {wanted!r} is unknown; use {' or '.join(states)}")
    states[wanted](sandbox.id)
    return sandbox.id


def _file(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ScenarioError(f"cannot read {path}: {error}") from error
