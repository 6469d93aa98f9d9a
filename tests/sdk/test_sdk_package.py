"""The package as an import: its names, and what it loads when."""

import ast
import inspect
import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import httpx
import pytest
from sdk_driver import js

import caged
import caged.emulator
from caged.emulator.cage import isolation
from caged.emulator.control import faults
from caged.emulator.platform import limits
from caged.emulator.wire.all_operations import all_operations

ROOT = Path(__file__).parents[2]
HEAVY = {"httpx", "websockets", "starlette", "uvicorn", "pydantic", "pytest", "click"}


def loaded_by(code):
    script = f"import sys\n{code}\nprint(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, cwd="/")
    assert run.returncode == 0, run.stderr
    return set(run.stdout.split())


@pytest.mark.parametrize(
    "code", ["import caged; caged.__version__; dir(caged)", "from caged import CagedError, Sandbox"]
)
def test_importing_the_package_loads_nothing_heavy(code):
    assert not loaded_by(code) & HEAVY


def test_the_client_loads_httpx_and_nothing_of_the_other_parts():
    loaded = loaded_by(
        "from caged import *\n"
        "client = Caged('k', 'http://127.0.0.1:1')\n"
        "client.sandboxes, client.files, client.snapshots, client.account, client.sessions, client.events\n"
        "client.alerts, client.notifications, client.billing\n"
        "client.sandboxes.stream('cage_1', 'ls')"
    )
    assert loaded & HEAVY - {"click"} == {"httpx"}  # httpx loads click where it is installed


def test_all_is_alphabetical_and_holds_every_public_name():
    assert caged.__all__ == sorted(caged.__all__, key=lambda name: (not name.isupper(), name))
    tree = ast.parse(Path(caged.__file__).read_text())
    types = next(node for node in tree.body if isinstance(node, ast.If))
    declared = {alias.name for node in types.body for alias in getattr(node, "names", [])}
    assert set(caged.__all__) == declared | {"__version__"}


CONSTANTS = {"__version__", "CLEAR_CREDENTIAL", "EVENT_TYPES"}
OLDER_NAMES = {"Session": caged.AccountSession, "TrustScore": caged.TrustScoreSummary}


TYPES = {
    "AgentName", "AlertSeverity", "AlertState", "EventType", "FileType", "KeyScope", "NetworkMode", "Plan",
    "SandboxStatus", "SessionStatus", "SnapshotStatus", "Template",
}  # fmt: skip


def test_every_public_name_is_there_and_at_home():
    for name in set(caged.__all__) - CONSTANTS - set(OLDER_NAMES) - TYPES:
        value = getattr(caged, name)
        assert (value.__name__, value.__module__) == (name, "caged")
        assert value.__doc__
        assert name in dir(caged)


@pytest.mark.filterwarnings("error")
def test_older_names_are_the_new_ones_and_do_not_warn():
    for name, model in OLDER_NAMES.items():
        assert getattr(caged, name) is model


def test_constants_have_the_platforms_values():
    assert caged.CLEAR_CREDENTIAL == "__clear__"
    assert caged.EVENT_TYPES == (
        "llm_call", "tool_call", "file_op", "command", "network", "error", "lifecycle", "desktop",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("package", "name", "hint"),
    [
        (caged, "Sandboxx", "; did you mean 'Sandbox'?"), (caged, "CagedApiError", "; did you mean 'CagedAPIError'?"),
        (caged, "nothing_like_it", ""), (caged, "_http_client", ""),
        (caged.emulator, "Emulatorr", "; did you mean 'Emulator'?"), (caged.emulator, "zebra", ""),
    ],
)  # fmt: skip
def test_unknown_name_raises_attribute_error_with_the_nearest(package, name, hint):
    with pytest.raises(AttributeError) as caught:
        getattr(package, name)
    assert str(caught.value) == f"module {package.__name__!r} has no attribute {name!r}{hint}"


def test_unknown_name_is_suggested_once():
    for statement in ("import caged; caged.Sandboxx", "import caged.emulator; caged.emulator.Emulatorr"):
        run = subprocess.run([sys.executable, "-c", statement], capture_output=True, text=True, timeout=60)
        assert run.returncode == 1
        assert run.stderr.lower().count("did you mean") == 1, run.stderr


@pytest.mark.parametrize("package", [caged, caged.emulator])
def test_dir_is_the_public_names_and_what_every_module_has(package):
    public = {name for name in dir(package) if not name.startswith("__")}
    if package is caged:
        public -= {"emulator", "pytest_plugin"}
    assert public == set(package.__all__) - {"__version__"}
    assert dir(package) == sorted(dir(package))


def test_every_public_name_of_the_emulator_is_there_and_documented():
    for name in caged.emulator.__all__:
        value = getattr(caged.emulator, name)
        if isinstance(value, type):
            assert value.__doc__, name
            assert value.__name__ == name


def test_errors_of_the_emulator_read_as_the_package_they_are_imported_from():
    for name in ("ConfigError", "EmulatorError", "ScenarioError"):
        error = getattr(caged.emulator, name)
        assert f"{error.__module__}.{error.__qualname__}" == f"caged.emulator.{name}"
        twin = pickle.loads(pickle.dumps(error("text")))
        assert (type(twin), str(twin)) == (error, "text")


def test_types_of_closed_sets_are_what_the_emulator_accepts():
    def values(type_):
        members = [part for part in get_args(type_) if part is not str]
        return {value for part in members for value in (get_args(part) or [part])}

    assert values(caged.EventType) == set(caged.EVENT_TYPES)
    assert values(caged.NetworkMode) == set(limits.NETWORK_MODES)
    assert values(caged.Template) == {*limits.TEMPLATES, *limits.TEMPLATE_ALIASES}
    assert values(caged.AgentName) == {*limits.AGENTS, *limits.AGENT_ALIASES}
    assert values(caged.emulator.Isolation) == {"auto", *isolation.LEVELS}
    assert values(caged.emulator.Outcome) == set(faults.OUTCOMES)


def test_operation_names_are_those_that_the_emulator_serves():
    (names, _) = get_args(caged.emulator.OperationName)
    served = {operation.name for operation in all_operations()}
    assert sorted(get_args(names)) == sorted(name for name in served if not name.startswith("emulator."))


def test_an_answer_with_a_status_of_a_later_version_is_read(driver):
    sandbox = driver.run(js({"id": "cage_1", "status": "migrating"}), lambda c: c.sandboxes.get("cage_1"))
    assert sandbox.status == "migrating"


def test_the_version_is_the_one_of_the_distribution():
    declared = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert declared is not None
    assert declared.group(1) == caged.__version__


GROUPS = (
    "account", "alerts", "billing", "events", "files", "notifications", "sandboxes", "sessions", "snapshots",
)  # fmt: skip


def methods(group):
    return {name for name in dir(type(group)) if not name.startswith("_")}


#: Awaited by `async for` or `async with`, or without a request.
NOT_AWAITED = {("sandboxes", "stream"), ("sandboxes", "open"), ("sandboxes", "bind")}


def test_sync_and_async_clients_have_the_same_methods_and_signatures():
    options = {"transport": httpx.MockTransport(lambda request: None)}
    one = caged.Caged("k", "http://h", **options)
    two = caged.AsyncCaged("k", "http://h", **options)
    for group in GROUPS:
        first, second = getattr(one, group), getattr(two, group)
        assert methods(first) == methods(second)
        for name in methods(first):
            mine, theirs = getattr(first, name), getattr(second, name)
            assert inspect.signature(mine).parameters == inspect.signature(theirs).parameters
            assert mine.__doc__
            assert theirs.__doc__
            if (group, name) in NOT_AWAITED:
                assert not inspect.iscoroutinefunction(theirs)
            else:
                assert inspect.iscoroutinefunction(theirs) or inspect.isasyncgenfunction(theirs)


def test_sockets_are_coroutines_on_both_clients():
    options = {"transport": httpx.MockTransport(lambda request: None)}
    for client in (caged.Caged("k", "http://h", **options), caged.AsyncCaged("k", "http://h", **options)):
        for name in ("terminal", "exec_stream", "mcp"):
            assert inspect.iscoroutinefunction(getattr(client.sandboxes, name))
