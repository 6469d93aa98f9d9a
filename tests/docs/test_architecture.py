"""The files and folders that the documentation of the code names exist, and tests of the emulator have the names of the
modules that they test."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = ("docs/architecture.md", "docs/glossary.md", "docs/limits.md", "docs/security.md", "CONTRIBUTING.md")
#: What a path in a document may be relative to.
BASES = ("emulator", "pytest_plugin", "caged", "", "emulator/cage/inside", "caged/_sockets")
#: A Python file with or without folders, or a folder of the repository, at the beginning of a text in backticks.
FILE = re.compile(r"`((?:[\w.]+/)*\w+\.py)\b")
FOLDER = re.compile(r"`((?:[\w.]+/)+)`")


def names_in(text: str) -> list[str]:
    return sorted({*FILE.findall(text), *FOLDER.findall(text)})


def missing(text: str) -> list[str]:
    return [name for name in names_in(text) if not any((ROOT / base / name).exists() for base in BASES)]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_files_that_a_document_names_exist(document: str) -> None:
    assert missing((ROOT / document).read_text(encoding="utf-8")) == []


def test_architecture_names_a_test_and_a_file_in_each_row_of_its_map() -> None:
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8").split("\n### A new option of a control")[0]
    rows = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith("| what |")]
    assert len(rows) > 50
    for row in rows:
        _what, code, tests = row.strip("| ").split(" | ")
        assert names_in(code) or "see [below]" in code, row
        assert any(name.startswith("tests/") for name in names_in(tests)), row


def slow_files(script: str) -> list[str]:
    """The names in the list of files that `scripts/test fast` leaves out; `*` stands for any characters."""
    return shlex.split(re.search(r"^SLOW=\((.*?)\)$", script, re.MULTILINE | re.DOTALL)[1])  # type: ignore[index]


def test_each_slow_file_of_the_test_script_exists() -> None:
    names = slow_files((ROOT / "scripts/test").read_text(encoding="utf-8"))
    assert len(names) > 10
    assert [name for name in names if not list((ROOT / "tests").rglob(f"test_{name}.py"))] == []


def test_a_file_or_folder_that_does_not_exist_is_found() -> None:
    text = "`wire/dispatch.py`, `wire/request_path/`, `wire/gone.py: NUMBER`, `gone/`"
    assert missing(text) == ["gone/", "wire/gone.py"]


def names_of_modules(package: Path) -> set[str]:
    """The names of all modules and packages below a package, without the underscore of `import_`."""
    modules = {path.stem.rstrip("_") for path in package.rglob("*.py") if path.name != "__init__.py"}
    return modules | {path.parent.name for path in package.glob("*/**/__init__.py")}


def names_of_tests(package: Path, folder: str) -> set[str]:
    """What the names of the files in a folder of tests may begin with, after `test_`."""
    if not folder:  # tests of the modules and of whole packages
        modules = {path.stem for path in package.glob("*.py")}
        return modules | {path.parent.name for path in package.glob("*/__init__.py")}
    if not (package / folder / "__init__.py").exists():
        return set()
    names = names_of_modules(package / folder)
    # Commands have names such as `cache`, `clock` and `journal`, which are those of modules elsewhere.
    return {f"cli_{name}" for name in names} if folder == "cli" else names


def without_module(tests: Path, package: Path) -> list[str]:
    """The files of tests that are not named after the package of their folder or a module of it."""
    found = []
    for path in sorted(tests.rglob("test_*.py")):
        folder = path.relative_to(tests).parts[0] if path.parent != tests else ""
        tested = path.stem[len("test_") :]
        names = names_of_tests(package, folder)
        whole = bool(names) and tested == folder
        if not whole and not any(f"{tested}_".startswith(f"{name}_") for name in names):
            found.append(path.relative_to(tests).as_posix())
    return found


def test_tests_of_the_emulator_have_the_names_of_modules() -> None:
    assert without_module(ROOT / "tests/emulator", ROOT / "emulator") == []


def test_tests_without_a_module_are_found(tmp_path: Path) -> None:
    tests, package = tmp_path / "tests", tmp_path / "package"
    for name in ("app.py", "wire/__init__.py", "wire/files.py", "wire/admin/__init__.py", "wire/admin/clock.py"):
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).touch()
    (package / "cli").mkdir()
    for name in ("__init__", "shell", "import_"):
        (package / f"cli/{name}.py").touch()
    good = ("test_app.py", "test_app_end.py", "test_wire.py", "wire/test_wire.py", "wire/test_files.py")
    good += ("wire/test_files_large.py", "wire/test_admin_keys.py", "wire/admin/test_clock.py")
    good += ("cli/test_cli.py", "cli/test_cli_shell_end.py", "cli/test_cli_import.py")
    bad = ("cli/test_cli_errors.py", "cli/test_shell.py", "gone/test_gone.py", "test_apps.py", "test_files.py")
    bad += ("wire/test_app.py", "wire/test_file.py", "wire/test_wire_files.py")
    for name in (*good, *bad):
        (tests / name).parent.mkdir(parents=True, exist_ok=True)
        (tests / name).touch()
    assert sorted(without_module(tests, package)) == sorted(bad)
