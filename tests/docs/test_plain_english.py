"""The words that the style's English rules ban do not come back (CONTRIBUTING.md, the rule on English)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("caged", "emulator", "pytest_plugin", "tests", "docs", "benchmarks", "scripts", ".ci", ".github")
SUFFIXES = (
    "",
    ".css",
    ".html",
    ".in",
    ".ini",
    ".js",
    ".md",
    ".mjs",
    ".pl",
    ".py",
    ".sh",
    ".toml",
    ".txt",
    ".yaml",
    ".yml",
)
#: Beginnings of the names of other projects' files and folders.
VENDORED = ("vendor", "xterm")
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
#: Names that others have chosen: the Unix user, and keys of records in state directories.
QUOTED = re.compile("[\"`'](?:nob" + "ody|(?:budget_)?to" + "ld)[\"`']")
#: What may be between the words of a phrase that is wrapped within a comment.
BREAK = r"[\s#:*/]+"
_WORDS = "|".join(word.replace(" ", BREAK) for word in BANNED)
_IN_CAMEL_CASE = "|".join(word.capitalize() for word in BANNED if " " not in word)
#: A banned word by itself, or as a part of an identifier in snake case or camel case.
PATTERN = re.compile(rf"(?:(?<![A-Za-z])(?i:{_WORDS})|(?<=[a-z])(?:{_IN_CAMEL_CASE}))s?(?![a-z])")


def sources() -> Iterator[Path]:
    """Yield the texts of the project."""
    paths = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*"))]
    for path in [*paths, *sorted(ROOT.glob("*"))]:
        names = path.relative_to(ROOT).parts
        is_own = "__pycache__" not in names and not any(name.startswith(VENDORED) for name in names)
        if is_own and path.suffix in SUFFIXES and path.is_file():
            yield path


def banned_in(text: str) -> Iterator[tuple[str, int]]:
    """Yield each banned word or phrase in a text, as BANNED spells it, and the number of the line that it begins in."""
    text = QUOTED.sub("", text)
    for match in PATTERN.finditer(text):
        word = re.sub(BREAK, " ", match[0].lower())
        yield (word if word in BANNED else word[:-1]), text.count("\n", 0, match.start()) + 1


def test_banned_words_are_not_used() -> None:
    used = []
    for path in sources():
        for word, number in banned_in(path.read_text(encoding="utf-8", errors="replace")):
            used.append(f"{path.relative_to(ROOT)}:{number}: {word!r}: write instead {BANNED[word]}")
    assert not used, "\n".join(used)


def test_sources_are_of_all_kinds() -> None:
    names = {path.relative_to(ROOT).as_posix() for path in sources()}
    for name in (".ci/run", "pyproject.toml", "README.md", "scripts/test", "emulator/cage/inside/shim.pl"):
        assert name in names
    assert any(name.endswith(".js") for name in names)
    assert not any("xterm" in name or "/vendor/" in name for name in names)


@pytest.mark.parametrize("word", BANNED)
def test_banned_word_is_found(word: str) -> None:
    assert list(banned_in(f"One\n# {word.upper()}.")) == [(word, 2)]
    assert list(banned_in("un" + word + "ed")) == []


@pytest.mark.parametrize("word", [word for word in BANNED if " " not in word])
def test_banned_word_is_found_in_identifiers_and_quotes(word: str) -> None:
    for text in (f"is_{word}_x", f"is{word.capitalize()}", f"{word}Of", f"A = 'x.{word}'"):
        assert list(banned_in(text)) == [(word, 1)], text


def test_phrase_that_is_wrapped_is_found() -> None:
    phrase = ("as", "good", "as")
    for line_break in ("\n", "\n    ", "\n    # ", "\n#: ", "\n * "):
        assert list(banned_in(line_break.join(phrase))) == [(" ".join(phrase), 1)]


def test_quoted_word_is_found_unless_it_is_another_projects_name() -> None:
    assert list(banned_in("A = 'ask" + "ed'")) == [("ask" + "ed", 1)]
    assert list(banned_in('A = "nob' + 'ody"')) == []
