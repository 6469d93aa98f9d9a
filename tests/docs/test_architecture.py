"""The files and folders that the documentation of the code names exist."""

from __future__ import annotations

import re
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


def test_a_file_or_folder_that_does_not_exist_is_found() -> None:
    text = "`wire/dispatch.py`, `wire/request_path/`, `wire/gone.py: NUMBER`, `gone/`"
    assert missing(text) == ["gone/", "wire/gone.py"]
