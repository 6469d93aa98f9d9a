"""What docs/integrations.md takes from elsewhere: examples, which are files, and figures, which a run has printed.

    python tests/docs/integrations_page.py [--write] [NAME RESULTS]

Compares the page with the examples, and the row of framework NAME with the results of its suite, there and in
README.md, and fails if they differ. With `--write`, both are written anew.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "integrations.md"
README = ROOT / "README.md"
SUITES = ROOT / "tests" / "conformance"
#: A link to an example, and the example.
EXAMPLE = re.compile(r"(?<=\]\()(?P<file>integrations/\w+/\w+\.py)\):\n\n```python\n(?P<code>.*?)```\n", re.DOTALL)


def examples(text: str) -> list[str]:
    """The examples that a page shows, as paths from docs/."""
    return [match["file"] for match in EXAMPLE.finditer(text)]


def with_examples(text: str) -> str:
    """The page with the examples as they are now."""

    def current(match: re.Match[str]) -> str:
        code = (PAGE.parent / match["file"]).read_text("utf-8")
        return f"{match['file']}):\n\n```python\n{code}```\n"

    return EXAMPLE.sub(current, text)


def tested_version(name: str) -> str:
    """The framework and its version: the first line of the requirements of its suite."""
    lines = (SUITES / name / "requirements.txt").read_text("utf-8").splitlines()
    return next(line for line in lines if line and not line.startswith("#")).replace("==", " ")


def row(name: str, figures: dict[str, Any]) -> str:
    """The row of a framework.

    Args:
        name: Of the module.
        figures: As tests/conformance/conftest.py writes them.
    """
    counts = f"passes {figures['passed']} of {figures['total']}"
    for count, what in ((len(figures["skipped"]), "skipped"), (len(figures["deviations"]), "deviate")):
        if count:
            counts += f"; {count} {what}"
    instead = SUITES / name / "suite.txt"
    if instead.exists():
        counts += f" ({instead.read_text('utf-8').strip()})"
    return f"| `{name}` | {tested_version(name)} | {counts} |"


def with_row(text: str, name: str, new: str) -> str:
    """The page with another row for a framework.

    Raises:
        ValueError: It has no row for it, or several.
    """
    pattern = re.compile(rf"^\| `{name}` \|.*$", re.MULTILINE)
    if len(pattern.findall(text)) != 1:
        raise ValueError(f"{PAGE.name} and {README.name} must have one row each that begins with '| `{name}` |'")
    return pattern.sub(lambda _: new, text)


def unexplained(text: str, figures: dict[str, Any]) -> list[str]:
    """Tests that are skipped or deviate, and that the page names neither with their parameters nor without."""
    names = [*figures["skipped"], *figures["deviations"]]
    return [name for name in names if f"`{name}`" not in text and f"`{name.partition('[')[0]}`" not in text]


def main(arguments: list[str]) -> None:
    write = "--write" in arguments
    given = [argument for argument in arguments if argument != "--write"]
    name, figures = (given[0], json.loads(Path(given[1]).read_text("utf-8"))) if given else ("", {})
    if given and unexplained(PAGE.read_text("utf-8"), figures):
        raise SystemExit(f"{PAGE.name} does not say why: {', '.join(unexplained(PAGE.read_text('utf-8'), figures))}")
    for page in (PAGE, README):
        text = page.read_text("utf-8")
        wanted = with_examples(text)
        if given:
            wanted = with_row(wanted, name, row(name, figures))
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
