"""The package as an import: its names, and what it loads when."""

import ast
import re
import subprocess
import sys
from pathlib import Path

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
        "client.sandboxes, client.files, client.snapshots, client.account"
    )
    assert loaded & HEAVY - {"click"} == {"httpx"}  # httpx loads click where it is installed


def test_all_is_alphabetical_and_holds_every_public_name():
    assert caged.__all__ == sorted(caged.__all__)
    tree = ast.parse(Path(caged.__file__).read_text())
    (types,) = (node for node in tree.body if isinstance(node, ast.If))
    declared = {alias.name for node in types.body for alias in getattr(node, "names", [])}
    assert set(caged.__all__) == declared | {"__version__"}


def test_every_public_name_is_there_and_at_home():
    for name in set(caged.__all__) - {"__version__"}:
        value = getattr(caged, name)
        assert (value.__name__, value.__module__) == (name, "caged")
        assert value.__doc__
        assert name in dir(caged)


def test_a_name_that_is_not_public_is_an_attribute_error():
    for name in ("CagedNoSuchError", "nothing"):
        with pytest.raises(AttributeError, match=f"'caged' has no attribute '{name}'"):
            getattr(caged, name)


def test_the_version_is_the_one_of_the_distribution():
    declared = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert declared is not None
    assert declared.group(1) == caged.__version__


def test_sync_and_async_clients_have_the_same_methods_and_signatures():
    import inspect

    options = {"transport": __import__("httpx").MockTransport(lambda request: None)}
    one = caged.Caged("k", "http://h", **options)
    two = caged.AsyncCaged("k", "http://h", **options)
    for group in ("account", "files", "sandboxes", "snapshots"):
        first, second = type(getattr(one, group)), type(getattr(two, group))
        names = {name for name in vars(first) if not name.startswith("_")}
        assert names == {name for name in vars(second) if not name.startswith("_")}
        for name in names:
            assert inspect.signature(getattr(first, name)) == inspect.signature(getattr(second, name))
            assert inspect.iscoroutinefunction(getattr(second, name))
            assert getattr(first, name).__doc__
            assert getattr(second, name).__doc__
