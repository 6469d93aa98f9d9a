"""The package as an import: its names, and what it loads when."""

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

import caged

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
    (types,) = (node for node in tree.body if isinstance(node, ast.If))
    declared = {alias.name for node in types.body for alias in getattr(node, "names", [])}
    assert set(caged.__all__) == declared | {"__version__"}


CONSTANTS = {"__version__", "CLEAR_CREDENTIAL", "EVENT_TYPES"}
OLDER_NAMES = {"Session": caged.AccountSession, "TrustScore": caged.TrustScoreSummary}


def test_every_public_name_is_there_and_at_home():
    for name in set(caged.__all__) - CONSTANTS - set(OLDER_NAMES):
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


def test_a_name_that_is_not_public_is_an_attribute_error():
    for name in ("CagedNoSuchError", "nothing"):
        with pytest.raises(AttributeError, match=f"'caged' has no attribute '{name}'"):
            getattr(caged, name)


def test_the_version_is_the_one_of_the_distribution():
    declared = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert declared is not None
    assert declared.group(1) == caged.__version__


GROUPS = (
    "account", "alerts", "billing", "events", "files", "notifications", "sandboxes", "sessions", "snapshots",
)  # fmt: skip


def methods(group):
    return {name for name in dir(type(group)) if not name.startswith("_")}


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
            if (group, name) == ("sandboxes", "stream"):  # awaited by `async for`
                assert not inspect.iscoroutinefunction(theirs)
            else:
                assert inspect.iscoroutinefunction(theirs) or inspect.isasyncgenfunction(theirs)


def test_sockets_are_coroutines_on_both_clients():
    options = {"transport": httpx.MockTransport(lambda request: None)}
    for client in (caged.Caged("k", "http://h", **options), caged.AsyncCaged("k", "http://h", **options)):
        for name in ("terminal", "exec_stream", "mcp"):
            assert inspect.iscoroutinefunction(getattr(client.sandboxes, name))
