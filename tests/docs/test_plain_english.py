"""The words that the style's English rules ban do not come back (CONTRIBUTING.md, the rule on English)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("caged", "emulator", "pytest_plugin", "tests", "docs", "benchmarks", "scripts")
#: Word -> what to write instead. Spelt in two halves, so that this file passes its own test.
BANNED = {
    "nob" + "ody": "what does not happen, or the role: no client, no test",
    "someb" + "ody": "the role: a client, a test, another process",
    "everyb" + "ody": "all accounts, all clients",
    "to" + "ld": "reported, notified, recorded, passed",
    "ask" + "ed": "requested, queried, configured",
    "mee" + "ts": "matches, reaches, applies to",
    "as good " + "as": "say what it equals, and in what",
}


def sources() -> Iterator[Path]:
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in (".py", ".md", ".sh", "") and path.is_file() and "__pycache__" not in path.parts:
                yield path
    yield from sorted(ROOT.glob("*.md"))


#: A quoted identifier is a name of a format: a key of JSON or of a record.
QUOTED_NAME = re.compile(r"[\"`'][a-z_]+[\"`']")


def found(word: str) -> list[str]:
    """Lines with the word by itself or as a part of an identifier."""
    pattern = re.compile(rf"(?<![A-Za-z]){word}s?(?![a-z])", re.IGNORECASE)
    lines = []
    for path in sources():
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            if pattern.search(QUOTED_NAME.sub("", line)):
                lines.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()}")
    return lines


@pytest.mark.parametrize("word", BANNED)
def test_banned_word_is_not_used(word: str) -> None:
    lines = found(word)
    assert not lines, f"{word!r}: write instead {BANNED[word]}. Used in:\n" + "\n".join(lines)
