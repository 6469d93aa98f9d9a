"""docs/integrations.md shows the examples as they are, and has a row and the examples of each framework."""

from __future__ import annotations

from pathlib import Path

import integrations_page
import pytest

ROOT = integrations_page.ROOT
TEXT = integrations_page.PAGE.read_text("utf-8")
NAMES = sorted(path.parent.name for path in integrations_page.SUITES.glob("*/requirements.txt"))


def test_examples_are_shown_as_they_are() -> None:
    assert integrations_page.with_examples(TEXT) == TEXT, "python tests/docs/integrations_page.py --write"


@pytest.mark.parametrize("name", NAMES)
def test_program_and_its_tests_are_shown(name: str) -> None:
    shown = [Path(file).name for file in integrations_page.examples(TEXT) if Path(file).parent.name == name]
    assert shown == ["program.py", "test_program.py", "test_recovery.py"]


@pytest.mark.parametrize("name", NAMES)
def test_row_has_the_pinned_version_and_figures(name: str) -> None:
    row = next(line for line in TEXT.splitlines() if line.startswith(f"| `{name}` |"))
    assert f"| {integrations_page.tested_version(name)} | passes " in row
    assert f"\n{row}\n" in integrations_page.README.read_text("utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_each_deviation_is_explained(name: str) -> None:
    path = integrations_page.SUITES / name / "deviations.txt"
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    deviations = dict(line.split(": ", 1) for line in lines)
    assert integrations_page.unexplained(TEXT, {"skipped": {}, "deviations": deviations}) == []


def test_skip_and_deviation_that_are_not_explained_are_found() -> None:
    figures = {"skipped": {"test_a[1]": "", "test_a[2]": ""}, "deviations": {"test_b": ""}}
    assert integrations_page.unexplained("", figures) == ["test_a[1]", "test_a[2]", "test_b"]
    assert integrations_page.unexplained("`test_a[1]`", figures) == ["test_a[2]", "test_b"]
    assert integrations_page.unexplained("`test_a`, `test_b`", figures) == []


def test_changed_example_and_changed_row_are_found() -> None:
    changed = TEXT.replace("from caged import ", "from somewhere import ")
    assert changed != TEXT
    assert integrations_page.with_examples(changed) == TEXT
    figures = {"passed": 1, "total": 3, "skipped": {"a": "b"}, "deviations": {"c": "d"}}
    row = integrations_page.row(NAMES[0], figures)
    assert row.endswith("| passes 1 of 3; 1 skipped; 1 deviate |")
    assert row in integrations_page.with_row(TEXT, NAMES[0], row)
    with pytest.raises(ValueError, match="one row"):
        integrations_page.with_row("", NAMES[0], row)
