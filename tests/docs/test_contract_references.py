"""Each reference to the contract, in code and documentation, points at a section of `docs/contract/` that exists."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
CONTRACT = ROOT / "docs" / "contract"
PLACES = ("caged", "emulator", "pytest_plugin", "tests", "docs", "benchmarks", "scripts", "README.md")
FILES = ("wire-contract", "platform-behaviour", "wire-other-clients", "wire-pipelines-a2a-mcp")

#: `wire-contract.md 3.7`, `wire-contract 4.1, 4.2`, `platform-behaviour.md B 15`, `platform-behaviour B15`,
#: `platform-behaviour.md, Part A` and `platform-behaviour.md A, Errors`.
_REFERENCE = re.compile(
    rf"\b({'|'.join(FILES)})(?:\.md)?`?,? ((?:Part )?[AB]\b|B(?=\d)|)(,? ?)(\d+(?:\.\d+)*|[A-Z][a-z]+)?"
)
_HEADING = re.compile(r"^#{1,3} (?:(\d+(?:\.\d+)*)\.? |Part ([AB])\b)", re.M)
_DECISION = re.compile(r"^\*\*([A-Z][A-Za-z ]+?)[.:]", re.M)


def _sections(name: str) -> set[str]:
    """`3.7`; for a file in parts `A`, `A Errors`, `B`, `B 15`."""
    text = (CONTRACT / f"{name}.md").read_text("utf-8")
    found: set[str] = set()
    part = ""
    for match in _HEADING.finditer(text):
        part = match[2] or part
        found.add(part if match[2] else f"{part} {match[1]}".strip())
    return found | {f"A {decision}" for decision in _DECISION.findall(text)}


def _references() -> Iterator[tuple[str, str, str]]:
    """(where, file, section)."""
    paths = [path for place in PLACES for path in ([ROOT / place] if "." in place else (ROOT / place).rglob("*"))]
    for path in paths:
        if path.suffix not in (".py", ".md", "") or not path.is_file() or path == Path(__file__):
            continue
        name = path.relative_to(ROOT)
        text = re.sub(r"\n\s*(?:#:?|//)?\s*", " ", path.read_text("utf-8", "replace"))  # a reference may be wrapped
        for match in _REFERENCE.finditer(text):
            part, section = match[2].replace("Part ", ""), match[4] or ""
            if match[1] != "platform-behaviour":
                part, section = "", section if section[:1].isdigit() else ""
            elif part == "A" and "," not in match[3]:
                section = ""
            if part or section:
                yield f"{name}: {match[0].strip()}", match[1], f"{part} {section}".strip()


def test_each_reference_points_at_a_section() -> None:
    sections = {name: _sections(name) for name in FILES}
    references = list(_references())
    wrong = [where for where, name, section in references if section not in sections[name]]
    assert not wrong, "\n".join(wrong)
    assert len(references) > 200, "the references are found"


def test_sections_are_found() -> None:
    assert {"3.7", "4.1", "12"} <= _sections("wire-contract")
    assert {"A", "A Errors", "A Exec", "B", "B 15", "B 4.1"} <= _sections("platform-behaviour")
    assert "B 99" not in _sections("platform-behaviour")
