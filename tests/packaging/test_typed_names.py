"""What mypy and pyright see of the installed packages: the public names, closed sets, and nothing else."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import typed_tree

import caged
import caged.emulator

MISSPELT = Path(__file__).with_name("misspelt.py")
PACKAGES = {"caged": caged, "caged.emulator": caged.emulator}
SECONDS = 300


@pytest.fixture(scope="session")
def interpreter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return typed_tree.make(tmp_path_factory.mktemp("typed") / "venv")


def mypy(interpreter: Path, file: Path) -> dict[int, list[str]]:
    """The errors of a file, by line."""
    command = [sys.executable, "-m", "mypy", "--strict", "--python-executable", str(interpreter)]
    command += ["--cache-dir", str(interpreter.parents[1] / "mypy"), "--no-pretty", str(file)]
    done = run(command, file)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    found: dict[int, list[str]] = {}
    for line in done.stdout.splitlines():
        matched = re.fullmatch(r".*\.py:(\d+): error: (.*)", line)
        if matched:
            found.setdefault(int(matched[1]), []).append(matched[2])
    return found


def pyright(interpreter: Path, file: Path) -> dict[int, list[str]]:
    """The same."""
    rules = {"reportUnnecessaryComparison": "error"}
    settings = {"typeCheckingMode": "standard", "include": [file.name], **rules}
    (file.parent / "pyrightconfig.json").write_text(json.dumps(settings))
    command = [sys.executable, "-m", "basedpyright", "--outputjson", "--pythonpath", str(interpreter)]
    done = run([*command, "--project", str(file.parent)], file)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    found: dict[int, list[str]] = {}
    for diagnostic in json.loads(done.stdout)["generalDiagnostics"]:
        if diagnostic["severity"] == "error":
            found.setdefault(diagnostic["range"]["start"]["line"] + 1, []).append(diagnostic["message"])
    return found


def run(command: list[str], file: Path) -> subprocess.CompletedProcess[str]:
    # Nothing may be fetched: what the checkers need is installed with them.
    offline = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), "http://127.0.0.1:1")
    environment = {**os.environ, **offline}
    return subprocess.run(
        command, capture_output=True, text=True, timeout=SECONDS, cwd=file.parent, env=environment, check=False
    )


CHECKERS = pytest.mark.parametrize("check", [mypy, pyright], ids=["mypy", "pyright"])
Check = Callable[[Path, Path], "dict[int, list[str]]"]


@CHECKERS
def test_misspelt_names_and_values_are_errors_and_others_are_not(
    check: Check, interpreter: Path, tmp_path: Path
) -> None:
    file = tmp_path / MISSPELT.name
    file.write_text(MISSPELT.read_text())
    lines = file.read_text().splitlines()
    wrong = {number for number, line in enumerate(lines, 1) if line.endswith("# wrong")}
    found = check(interpreter, file)
    assert {number: lines[number - 1] for number in wrong - set(found)} == {}
    assert {number: found[number] for number in set(found) - wrong} == {}


def test_mypy_suggests_the_keyword_that_was_meant(interpreter: Path, tmp_path: Path) -> None:
    file = tmp_path / "keyword.py"
    file.write_text("import caged\ncaged.Caged('k').sandboxes.create(templat='minimal')\n")
    assert 'did you mean "template"?' in mypy(interpreter, file)[2][0]


@CHECKERS
def test_public_names_are_those_that_a_checker_sees(check: Check, interpreter: Path, tmp_path: Path) -> None:
    file = tmp_path / "names.py"
    probes = [(name, candidate) for name, package in PACKAGES.items() for candidate in sorted(candidates(package))]
    lines = [*(f"import {name}" for name in PACKAGES), *(f"print({name}.{candidate})" for name, candidate in probes)]
    file.write_text("\n".join(lines) + "\n")
    found = check(interpreter, file)
    first = len(PACKAGES) + 1
    for name, package in PACKAGES.items():
        seen = {probe for line, (of, probe) in enumerate(probes, first) if of == name and line not in found}
        assert seen == set(package.__all__)


def candidates(package: ModuleType) -> set[str]:
    """Whatever could be a name of a package: all that its source binds anywhere, and all that there is at run time."""
    assert package.__file__ is not None
    bound = {"Sandboxx", *package.__all__}
    for node in ast.walk(ast.parse(Path(package.__file__).read_text())):
        if isinstance(node, ast.alias):
            bound.add((node.asname or node.name).partition(".")[0])
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            bound.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            bound.add(node.id)
    here = {name for name, value in vars(package).items() if not isinstance(value, ModuleType)}
    return {name for name in bound | here if name in package.__all__ or not name.startswith("_")}
