"""Each framework has a page with its examples as they are, its figures, and the reason of each deviation."""

from __future__ import annotations

import re
from pathlib import Path

import integrations_page
import pytest

INDEX = integrations_page.INDEX
NAMES = integrations_page.NAMES
each_name = pytest.mark.parametrize("name", NAMES)
LINK = re.compile(r"\]\((?!https?://)([^)#\s]+)\)")


def text_of(name: str) -> str:
    """The page of a framework. FileNotFoundError if it has none."""
    return integrations_page.page_of(name).read_text("utf-8")


def row_of(name: str) -> str:
    return next(line for line in INDEX.read_text("utf-8").splitlines() if line.startswith(f"| `{name}` |"))


def test_there_is_a_page_of_each_framework_and_of_nothing_else() -> None:
    assert len(NAMES) == 5
    assert [path.stem for path in sorted(integrations_page.PAGES.glob("*.md"))] == NAMES
    folders = [path.name for path in sorted(integrations_page.PAGES.iterdir()) if path.is_dir()]
    assert folders == NAMES


@each_name
def test_index_links_the_page(name: str) -> None:
    assert INDEX.read_text("utf-8").count(f"](integrations/{name}.md)") == 1


@pytest.mark.parametrize("page", [INDEX, *map(integrations_page.page_of, NAMES)], ids=lambda page: page.stem)
def test_files_that_a_page_links_exist(page: Path) -> None:
    links = LINK.findall(page.read_text("utf-8"))
    assert links
    assert [link for link in links if not (page.parent / link).exists()] == []


@each_name
def test_examples_are_shown_as_they_are(name: str) -> None:
    text = text_of(name)
    assert integrations_page.with_examples(text) == text, "python tests/docs/integrations_page.py --write"


@each_name
def test_program_and_its_tests_are_shown(name: str) -> None:
    wanted = ["program.py", "test_program.py", "test_recovery.py"]
    assert integrations_page.examples(text_of(name)) == [f"{name}/{file}" for file in wanted]


@each_name
def test_row_has_the_pinned_version_and_figures(name: str) -> None:
    assert f"| {integrations_page.tested_version(name)} | passes " in row_of(name)
    assert f"\n{row_of(name)}\n" in integrations_page.README.read_text("utf-8")


@each_name
def test_page_has_the_figures_of_the_row(name: str) -> None:
    words = row_of(name).split(" | ")[2].strip(" |").partition(" (")[0]
    assert integrations_page.RESULT.findall(text_of(name)) == [integrations_page.result(name, words)]


@each_name
def test_each_deviation_is_explained(name: str) -> None:
    path = integrations_page.SUITES / name / "deviations.txt"
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    deviations = dict(line.split(": ", 1) for line in lines)
    assert integrations_page.unexplained(text_of(name), {"skipped": {}, "deviations": deviations}) == []


def test_skip_and_deviation_that_are_not_explained_are_found() -> None:
    figures = {"skipped": {"test_a[1]": "", "test_a[2]": ""}, "deviations": {"test_b": ""}}
    assert integrations_page.unexplained("", figures) == ["test_a[1]", "test_a[2]", "test_b"]
    assert integrations_page.unexplained("`test_a[1]`", figures) == ["test_a[2]", "test_b"]
    assert integrations_page.unexplained("`test_a`, `test_b`", figures) == []


def test_changed_example_is_found() -> None:
    text = text_of(NAMES[0])
    changed = text.replace("from caged import ", "from somewhere import ")
    assert changed != text
    assert integrations_page.with_examples(changed) == text


def test_changed_figures_are_found() -> None:
    name = NAMES[0]
    figures = {"passed": 1, "total": 3, "skipped": {"a": "b"}, "deviations": {"c": "d"}}
    wanted = integrations_page.wanted_pages(name, figures)
    version = integrations_page.tested_version(name)
    words = "passes 1 of 3; 1 skipped; 1 deviate"
    assert f"\nResult with {version}: {words}\n" in wanted[integrations_page.page_of(name)]
    for table in (INDEX, integrations_page.README):
        assert f"\n| `{name}` | {version} | {words} |\n" in wanted[table]


def test_page_without_a_place_for_the_figures_is_an_error() -> None:
    with pytest.raises(ValueError, match="one row"):
        integrations_page.with_row("", NAMES[0], "")
    with pytest.raises(ValueError, match="one line"):
        integrations_page.with_result("", NAMES[0], "")
