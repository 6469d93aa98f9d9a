"""Each control, query and setting is described once: every form of it has the options of the description."""

from __future__ import annotations

import dataclasses
import inspect
import re

import cli_testing
import pytest
from cases import each

from caged.emulator import (
    Agent,
    Commands,
    Controls,
    Emulator,
    EmulatorConfig,
    Faults,
    Journal,
    Output,
    Prepared,
    Reply,
    Repos,
)
from caged.emulator.control import queries, records
from caged.emulator.control.agent_replies import ScriptedReply
from caged.emulator.control.clock import Advance, Tick
from caged.emulator.control.description import options_of
from caged.emulator.control.faults import Fault
from caged.emulator.control.prepared import PreparedSandbox
from caged.emulator.control.repositories import Repository
from caged.emulator.control.stubs import Stub
from caged.emulator.control_client.clock import Clock
from caged.emulator.control_client.inventory import Inventory
from caged.emulator.scenario import ScenarioError
from caged.emulator.scenario.reading import from_document

#: A Python method, the description of its arguments, and the name that the description has for it.
METHODS = [
    (Faults.add, Fault, "add"),
    (Commands.stub, Stub, "stub"),
    (Commands.program, Stub, "program"),
    (Agent.reply, ScriptedReply, "reply"),
    (Agent.reply_to, ScriptedReply, "reply_to"),
    (Agent.passthrough, ScriptedReply, "passthrough"),
    (Repos.add, Repository, "add"),
    (Controls.prepare, PreparedSandbox, "prepare"),
    (Journal.requests, queries.RequestQuery, ""),
    (Journal.commands, queries.CommandQuery, ""),
    (Journal.prompts, queries.PromptQuery, ""),
    (Journal.events, queries.EventQuery, ""),
    (Journal.steps, queries.StepQuery, ""),
    (Journal.follow, queries.StepStreamQuery, ""),
    (Faults.list, queries.ControlQuery, ""),
    (Commands.list, queries.ControlQuery, ""),
    (Agent.list, queries.ControlQuery, ""),
    (Repos.list, queries.ControlQuery, ""),
    (Prepared.list, queries.ControlQuery, ""),
    (Inventory.sandboxes, queries.SandboxQuery, ""),
    (Inventory.snapshots, queries.SnapshotQuery, ""),
    (Inventory.sockets, queries.SocketQuery, ""),
    (Clock.tick, Tick, ""),
    (Controls.callback_errors, queries.CallbackErrorQuery, ""),
]
CONTROLS = METHODS[:8]
JOURNAL = [one for one in METHODS if one[0].__qualname__.startswith("JournalQueries.")]


def name(value: object) -> str:
    return getattr(value, "__qualname__", str(value))


@each(("method", "description", "kind"), METHODS)
def test_signature_equals_the_description(method, description, kind):
    parameters = dict(inspect.signature(method).parameters)
    assert parameters.pop("self")
    assert parameters.pop("account").default is None
    options = options_of(description, kind)
    assert list(parameters) == [one.name for one in options]
    for one in options:
        default = parameters[one.name].default
        if one.is_required:
            assert default is inspect.Parameter.empty
        else:
            assert (default or None) == (one.default or None), one.name


def test_signature_of_advance_equals_the_description():
    parameters = list(inspect.signature(Clock.advance).parameters)
    assert parameters == ["self", *(one.name for one in options_of(Advance)), "account"]


@pytest.mark.parametrize(("method", "description", "kind"), [*CONTROLS, *JOURNAL], ids=name)
def test_docstring_has_the_help_of_every_option(method, description, kind):
    text = re.sub(r"\s+", " ", inspect.getdoc(method) or "")
    arguments = text.partition("Args:")[2].partition("Returns:")[0]
    for one in options_of(description, kind):
        help_text = re.sub(r"\s+", " ", one.help_text)
        # A function or a Reply is possible in Python only, and only the docstring says so.
        first = help_text.rstrip(".").split("; or a function")[0]
        assert f" {one.name}: {first}" in arguments, one.name
        assert one.unit in arguments


@pytest.mark.parametrize(
    "description", [Fault, Stub, ScriptedReply, Repository, PreparedSandbox, Output, Reply, EmulatorConfig], ids=name
)
def test_every_option_has_a_help_text(description):
    options = options_of(description)
    assert options
    for one in options:
        assert re.fullmatch(r"[A-Z\"`].*[.]", one.help, re.S) or one.name in ("unreachable", "outcome"), one.help


COMMANDS = [
    (("faults", "add"), Fault, "add", ["operation"]),
    (("commands", "stub"), Stub, "stub", ["match"]),
    (("commands", "program"), Stub, "program", ["program"]),
    (("agents", "reply"), ScriptedReply, "reply_to", ["text"]),
    (("agents", "passthrough"), ScriptedReply, "passthrough", []),
    (("repos", "add"), Repository, "add", ["url", "source"]),
    (("prepared", "add"), PreparedSandbox, "prepare", ["name"]),
    (("prepared", "list"), queries.ControlQuery, "", []),
    (("repos", "list"), queries.ControlQuery, "", []),
    (("faults", "list"), queries.ControlQuery, "", []),
    (("commands", "list"), queries.ControlQuery, "", []),
    (("agents", "list"), queries.ControlQuery, "", []),
    (("accounts", "list"), queries.AccountQuery, "", []),
    (("callback-errors", "list"), queries.CallbackErrorQuery, "", []),
    (("inventory", "logs"), queries.SandboxLogQuery, "", []),
    (("repos", "branches"), queries.RefQuery, "", []),
    (("repos", "tags"), queries.RefQuery, "", []),
    (("repos", "commits"), queries.CommitQuery, "", []),
    (("repos", "files"), queries.RepositoryFileQuery, "", []),
    (("repos", "pushes"), queries.PushQuery, "", []),
    (("inventory", "sandboxes"), queries.SandboxQuery, "", []),
    (("inventory", "snapshots"), queries.SnapshotQuery, "", []),
    (("inventory", "sockets"), queries.SocketQuery, "", []),
    (("journal", "steps"), queries.StepQuery, "", []),
    (("journal", "requests"), queries.RequestQuery, "", []),
    (("journal", "commands"), queries.CommandQuery, "", []),
    (("journal", "prompts"), queries.PromptQuery, "", []),
    (("journal", "events"), queries.EventQuery, "", []),
    (("clock", "advance"), Advance, "", []),
    (("clock", "tick"), Tick, "", []),
    (("serve",), EmulatorConfig, "", []),
]


@each(("words", "description", "kind", "positional"), COMMANDS)
def test_help_of_the_command_line_has_every_option_with_its_allowed_values(words, description, kind, positional):
    text = re.sub(r"\s+", "", cli_testing.call(*words, "--help").stdout)
    for one in options_of(description, kind):
        if one.name in positional or one.is_local:
            continue
        flag = one.flag or f"--{one.name.replace('_', '-')}"
        assert flag.split("/")[0] in text, flag
        assert re.sub(r"\s+", "", one.help) in text, one.name
        for choice in one.choices:
            assert str(choice) in text, choice
        if one.range:
            assert re.sub(r"\s+", "", one.range).lower() in text.lower(), one.range


@pytest.mark.parametrize(
    ("path", "description"),
    [
        ("/faults", Fault),
        ("/commands", Stub),
        ("/agents/{name}/replies", ScriptedReply),
        ("/repos", Repository),
        ("/prepared", PreparedSandbox),
    ],
)
def test_openapi_document_has_every_option_with_its_help(emulator, path, description):
    import httpx

    document = httpx.get(f"{emulator.base_url}/openapi.json", timeout=60, verify=False).json()
    body = document["paths"][f"/_emulator{path}"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    properties = document["components"]["schemas"][body["$ref"].rpartition("/")[2]]["properties"]
    assert set(properties) - {"function"} == {one.name for one in options_of(description)}
    for one in options_of(description):
        assert properties[one.name]["description"] == one.help_text
        shown = str(properties[one.name])
        for choice in one.choices:
            assert choice in shown
        if one.at_least is not None:
            assert "minimum" in shown


@pytest.mark.parametrize(
    ("place", "entry", "description", "kind"),
    [
        ("faults", {"status": 500}, Fault, "add"),
        ("stubs", {"match": "x"}, Stub, "stub"),
        ("programs", {"program": "x"}, Stub, "program"),
        ("repos", {"url": "https://github.com/a/b", "source": {}}, Repository, "add"),
        ("prepared", {"name": "ready"}, PreparedSandbox, "prepare"),
    ],
)
def test_scenario_entry_has_every_option_and_names_them_for_an_unknown_one(place, entry, description, kind):
    for one in options_of(description, kind):
        wrong = [[]] if one.name not in ("output",) else 5
        with pytest.raises(ScenarioError, match=rf"^{place}\[0\]: {one.name}: must be "):
            from_document({place: [{**entry, one.name: wrong}]})
    with pytest.raises(ScenarioError, match=rf"^{place}\[0\]: optionl: unknown; did you mean 'optional'"):
        from_document({place: [{**entry, "optionl": True}]})


def test_settings_of_emulator_equal_the_description():
    parameters = dict(inspect.signature(Emulator.__init__).parameters)
    for name in ("self", "allow_unused", "ui"):  # of the object, not of the emulator that it starts
        del parameters[name]
    options = options_of(EmulatorConfig)
    assert list(parameters) == [one.name for one in options]
    for one in options:
        given = parameters[one.name].default
        # None stands for the environment variable, and then for the default.
        assert given == one.default or (given is None and one.environment), one.name


@pytest.mark.parametrize("settings", [{"isolatio": "process"}, {"porto": 1}])
def test_unknown_setting_is_refused_with_a_suggestion(settings):
    with pytest.raises(TypeError, match="did you mean"):
        EmulatorConfig.make(**settings)


RECORDS = [
    one
    for one in vars(records).values()
    if isinstance(one, type) and dataclasses.is_dataclass(one) and one.__module__ == records.__name__
]


@pytest.mark.parametrize("record", RECORDS, ids=name)
def test_every_value_of_a_record_has_a_help_text_and_a_table_has_columns(record):
    assert set(records.help_of(record)) == {field.name for field in dataclasses.fields(record)}
    assert records.columns_of(record)
