"""The modules of caged.integrations, without the frameworks: `scripts/conformance` tests them with those."""

from __future__ import annotations

import pkgutil
import re
import subprocess
import sys
from importlib.metadata import metadata
from pathlib import Path

import pytest

import caged.integrations

ROOT = Path(__file__).parents[2]
NAMES = sorted(
    module.name for module in pkgutil.iter_modules(caged.integrations.__path__) if not module.name.startswith("_")
)
#: Makes the import of every package fail that is not the SDK's own, as if it were not installed.
WITHOUT_FRAMEWORKS = """
import importlib, importlib.abc, sys

class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {frameworks!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
import caged, caged.integrations
loaded = sorted(set(sys.modules) & {modules!r})
assert not loaded, f"import caged loads {{loaded}}"
for name in {modules!r}:
    try:
        importlib.import_module(name)
    except Exception as error:
        print(f"{{type(error).__name__}}: {{error}}")
"""


def frameworks() -> set[str]:
    """The top-level packages that integrations import and that are neither the SDK's nor Python's."""
    found: set[str] = set()
    for path in (ROOT / "caged" / "integrations").rglob("[!_]*.py"):
        text = path.read_text("utf-8")
        found.update(re.findall(r"^ +(?:from|import) (\w+)", text, re.MULTILINE))
    return found - {"caged"}


def test_there_are_integrations() -> None:
    assert {"pydantic_ai"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_integration_has_an_extra_of_its_name(name: str) -> None:
    extras = metadata("caged").get_all("Provides-Extra") or []
    assert name.replace("_", "-") in extras


def test_import_without_the_framework_names_the_extra_to_install() -> None:
    modules = {f"caged.integrations.{name}" for name in NAMES}
    code = WITHOUT_FRAMEWORKS.format(frameworks=frameworks(), modules=modules)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == len(NAMES), done.stdout
    for name in NAMES:
        needs = f"caged.integrations.{name} needs a framework: pip install 'caged[{name.replace('_', '-')}]'"
        assert f"ImportError: {needs} (No module named" in done.stdout


@pytest.mark.parametrize("name", NAMES)
def test_integration_is_tested_with_its_framework(name: str) -> None:
    assert (ROOT / "tests" / "conformance" / name / "requirements.txt").exists()
    assert list((ROOT / "tests" / "conformance" / name).glob("test_*.py"))
    assert (ROOT / "docs" / "integrations" / f"{name}.md").exists()
    table = (ROOT / "docs" / "integrations.md").read_text("utf-8")
    assert table.count(f"\n| `{name}` |") == 1
