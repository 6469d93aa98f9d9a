"""What the pages of the agent frameworks take from elsewhere: examples, which are files, and figures of a run.

    python tests/docs/integrations_page.py [--write] [NAME RESULTS]

Compares docs/integrations/*.md with the examples. With the results of the suite of framework NAME, compares its row in
docs/integrations.md and README.md, and the result on its page, as well. Fails if anything differs. With `--write`, the
pages are written anew.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
INDEX = ROOT / "docs" / "integrations.md"
#: NAME.md is the page of a framework, NAME/ has its examples.
PAGES = ROOT / "docs" / "integrations"
SUITES = ROOT / "tests" / "conformance"
#: Each has a suite, and must have a page.
NAMES = sorted(path.parent.name for path in SUITES.glob("*/requirements.txt"))
#: A link to an example, and the example.
EXAMPLE = re.compile(r"(?<=\]\()(?P<file>\w+/\w+\.py)\):\n\n```python\n(?P<code>.*?)```\n", re.DOTALL)
RESULT = re.compile(r"^Result with .*$", re.MULTILINE)


def page_of(name: str) -> Path:
    return PAGES / f"{name}.md"


def examples(text: str) -> list[str]:
    """The examples that a page shows, as paths from docs/integrations/."""
    return [match["file"] for match in EXAMPLE.finditer(text)]


def with_examples(text: str) -> str:
    """The page with the examples as they are now."""

    def current(match: re.Match[str]) -> str:
        code = (PAGES / match["file"]).read_text("utf-8")
        return f"{match['file']}):\n\n```python\n{code}```\n"

    return EXAMPLE.sub(current, text)


def requirements(name: str, file: str = "requirements.txt") -> list[str]:
    """The requirements in a file of a suite. FileNotFoundError if there is no such file."""
    stripped = (line.strip() for line in (SUITES / name / file).read_text("utf-8").splitlines())
    return [line for line in stripped if line and not line.startswith("#")]


def tested_version(name: str) -> str:
    """The framework and its version: the first of the requirements of its suite."""
    return requirements(name)[0].replace("==", " ")


def counts(figures: dict[str, Any]) -> str:
    """Figures in words.

    Args:
        figures: As tests/conformance/conftest.py writes them.
    """
    words = f"passes {figures['passed']} of {figures['total']}"
    for count, what in ((len(figures["skipped"]), "skipped"), (len(figures["deviations"]), "deviate")):
        if count:
            words += f"; {count} {what}"
    return words


def row(name: str, words: str) -> str:
    """The row of a framework in the table, with its counts in words."""
    instead = SUITES / name / "suite.txt"
    if instead.exists():
        words += f" ({instead.read_text('utf-8').strip()})"
    return f"| `{name}` | {tested_version(name)} | {words} |"


def with_row(text: str, name: str, new: str) -> str:
    """The table with another row for a framework.

    Raises:
        ValueError: It has no row for it, or several.
    """
    pattern = re.compile(rf"^\| `{name}` \|.*$", re.MULTILINE)
    if len(pattern.findall(text)) != 1:
        raise ValueError(f"{INDEX.name} and {README.name} must have one row each that begins with '| `{name}` |'")
    return pattern.sub(lambda _: new, text)


def result(name: str, words: str) -> str:
    """The line of a framework's page that has its counts in words."""
    return f"Result with {tested_version(name)}: {words}"


def with_result(text: str, name: str, new: str) -> str:
    """The page with another result.

    Raises:
        ValueError: It has no result, or several.
    """
    if len(RESULT.findall(text)) != 1:
        raise ValueError(f"{page_of(name).name} must have one line that begins with 'Result with '")
    return RESULT.sub(lambda _: new, text)


def unexplained(text: str, figures: dict[str, Any]) -> list[str]:
    """Tests that are skipped or deviate, and that the page names neither with their parameters nor without."""
    names = [*figures["skipped"], *figures["deviations"]]
    return [name for name in names if f"`{name}`" not in text and f"`{name.partition('[')[0]}`" not in text]


def wanted_pages(name: str = "", figures: dict[str, Any] | None = None) -> dict[Path, str]:
    """What each page has to be: all with their examples; with figures, those of a framework with these as well."""
    wanted = {page_of(each): with_examples(page_of(each).read_text("utf-8")) for each in NAMES}
    if figures is not None:
        words = counts(figures)
        wanted[page_of(name)] = with_result(wanted[page_of(name)], name, result(name, words))
        for table in (INDEX, README):
            wanted[table] = with_row(table.read_text("utf-8"), name, row(name, words))
    return wanted


def main(arguments: list[str]) -> None:
    write = "--write" in arguments
    given = [argument for argument in arguments if argument != "--write"]
    name, figures = (given[0], json.loads(Path(given[1]).read_text("utf-8"))) if given else ("", None)
    if figures is not None:
        missing = unexplained(page_of(name).read_text("utf-8"), figures)
        if missing:
            raise SystemExit(f"{page_of(name).name} does not say why: {', '.join(missing)}")
    for page, wanted in wanted_pages(name, figures).items():
        text = page.read_text("utf-8")
        if write:
            page.write_text(wanted, encoding="utf-8")
        elif wanted != text:
            old, new = text.splitlines(), wanted.splitlines()
            changed = next((pair for pair in zip(old, new) if pair[0] != pair[1]), ("", ""))
            raise SystemExit(
                f"{page.name} is out of date; `scripts/conformance --write` replaces\n    {changed[0]}\n"
                f"by\n    {changed[1]}"
            )


if __name__ == "__main__":
    main(sys.argv[1:])
