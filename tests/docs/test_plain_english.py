"""The words that the style's English rules ban do not come back (CONTRIBUTING.md, the rule on English)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("caged", "emulator", "pytest_plugin", "tests", "docs", "benchmarks", "scripts")
#: Word -> what to write instead. Spelt in two halves, so that this file passes its own test.
BANNED = {
    "nob" + "ody": "what does not happen, or the role: no client, no test",
    "someb" + "ody": "the role: a client, a test, another process",
    "everyb" + "ody": "all accounts, all clients",
    "to" + "ld": "reported, notified, recorded, passed",
    "ask" + "ed": "requested, queried, configured",
    "han" + "ded": "passed, given, returned",
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


def found(words: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield each of some words that is used, by itself or as a part of an identifier, and its place and line."""
    pattern = re.compile(rf"(?<![A-Za-z])({'|'.join(words)})s?(?![a-z])", re.IGNORECASE)
    for path in sources():
        text = path.read_text(encoding="utf-8", errors="replace")
        if not pattern.search(text):
            continue
        for number, line in enumerate(text.splitlines(), 1):
            for match in pattern.finditer(QUOTED_NAME.sub("", line)):
                yield match[1].lower(), f"{path.relative_to(ROOT)}:{number}: {line.strip()}"


def test_banned_words_are_not_used() -> None:
    used = [f"{word!r}: write instead {BANNED[word]}: {place}" for word, place in found(BANNED)]
    assert not used, "\n".join(used)
