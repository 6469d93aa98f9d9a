"""What mypy and pyright see of the installed packages: the public names, closed sets, and nothing else."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import typed_tree

import caged
import caged.emulator

MISSPELT = Path(__file__).with_name("misspelt.py")
KEYWORD, NAMES = "misspelt_keyword.py", "public_names.py"
#: Programs of the documentation, which have no errors.
DOCS = Path(__file__).parents[2] / "docs"
SERVICES = sorted((DOCS / "examples/agent_service").glob("*service.py"))
RECIPES = sorted((DOCS / "cookbook").glob("*.py"))
PROGRAMS = [*SERVICES, *RECIPES]
PACKAGES = {"caged": caged, "caged.emulator": caged.emulator}
SECONDS = 300


Errors = dict[str, dict[int, list[str]]]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the files that are checked, and with `venv`. Both checkers look at all of them in one run each:
    most of its time goes into the packages, not into the files."""
    directory = tmp_path_factory.mktemp("typed")
    typed_tree.make(directory / "venv")
    (directory / MISSPELT.name).write_text(MISSPELT.read_text())
    (directory / KEYWORD).write_text("import caged\ncaged.Caged('k').sandboxes.create(templat='minimal')\n")
    for program in PROGRAMS:
        (directory / program.name).write_text(program.read_text())
    lines = [*(f"import {name}" for name in PACKAGES), *(f"print({name}.{candidate})" for name, candidate in probes())]
    (directory / NAMES).write_text("\n".join(lines) + "\n")
    return directory


def probes() -> list[tuple[str, str]]:
    return [(name, candidate) for name, package in PACKAGES.items() for candidate in sorted(candidates(package))]


@pytest.fixture(scope="module", params=["mypy", "pyright"])
def errors(request: pytest.FixtureRequest, sources: Path, mypy_cache: Path) -> Errors:
    """What a checker reports, by name of the file and by line."""
    interpreter, files = (
        sources / "venv" / "bin" / "python",
        [sources / name for name in (MISSPELT.name, KEYWORD, NAMES, *(program.name for program in PROGRAMS))],
    )
    return mypy(interpreter, files, mypy_cache) if request.param == "mypy" else pyright(interpreter, files)


def mypy(interpreter: Path, files: list[Path], cache: Path) -> Errors:
    command = [sys.executable, "-m", "mypy", "--strict", "--python-executable", str(interpreter)]
    command += ["--cache-dir", str(cache), "--no-pretty", *map(str, files)]
    done = run(command, files[0].parent)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    found: Errors = {file.name: {} for file in files}
    for line in done.stdout.splitlines():
        matched = re.fullmatch(r"(.*\.py):(\d+): error: (.*)", line)
        if matched:
            found[Path(matched[1]).name].setdefault(int(matched[2]), []).append(matched[3])
    return found


def pyright(interpreter: Path, files: list[Path]) -> Errors:
    rules = {"reportUnnecessaryComparison": "error"}
    settings = {"typeCheckingMode": "standard", "include": [file.name for file in files], **rules}
    directory = files[0].parent
    (directory / "pyrightconfig.json").write_text(json.dumps(settings))
    command = [sys.executable, "-m", "basedpyright", "--outputjson", "--pythonpath", str(interpreter)]
    done = run([*command, "--project", str(directory)], directory)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    found: Errors = {file.name: {} for file in files}
    for diagnostic in json.loads(done.stdout)["generalDiagnostics"]:
        if diagnostic["severity"] == "error":
            of = found[Path(diagnostic["file"]).name]
            of.setdefault(diagnostic["range"]["start"]["line"] + 1, []).append(diagnostic["message"])
    return found


def run(command: list[str], directory: Path) -> subprocess.CompletedProcess[str]:
    # Nothing may be fetched: what the checkers need is installed with them.
    offline = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), "http://127.0.0.1:1")
    environment = {**os.environ, **offline}
    return subprocess.run(
        command, capture_output=True, text=True, timeout=SECONDS, cwd=directory, env=environment, check=False
    )


def test_misspelt_names_and_values_are_errors_and_others_are_not(errors: Errors) -> None:
    lines = MISSPELT.read_text().splitlines()
    wrong = {number for number, line in enumerate(lines, 1) if line.endswith("# wrong")}
    found = errors[MISSPELT.name]
    assert {number: lines[number - 1] for number in wrong - set(found)} == {}
    assert {number: found[number] for number in set(found) - wrong} == {}


def test_programs_of_the_documentation_have_no_errors(errors: Errors) -> None:
    assert [program.name for program in SERVICES] == ["async_service.py", "service.py", "test_service.py"]
    assert len(RECIPES) >= 40
    assert {program.name: errors[program.name] for program in PROGRAMS if errors[program.name]} == {}


def test_public_names_are_those_that_a_checker_sees(errors: Errors) -> None:
    first = len(PACKAGES) + 1
    for name, package in PACKAGES.items():
        seen = {probe for line, (of, probe) in enumerate(probes(), first) if of == name and line not in errors[NAMES]}
        assert seen == set(package.__all__)


@pytest.mark.parametrize("errors", ["mypy"], indirect=True)
def test_mypy_suggests_the_nearest_keyword_for_a_misspelt_one(errors: Errors) -> None:
    assert 'did you mean "template"?' in errors[KEYWORD][2][0]


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
