"""The table of figures in docs/integrations.md: `python tests/conformance/figures.py [--write] NAME RESULTS`.

Compares the row of a framework with what its suite has printed, and fails if they differ; with `--write` it replaces
the row.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
PAGE = FOLDER.parents[1] / "docs" / "integrations.md"


def framework(name: str) -> str:
    """The framework that is tested: the first of the pinned versions."""
    lines = (FOLDER / name / "requirements.txt").read_text("utf-8").splitlines()
    return next(line for line in lines if line and not line.startswith("#")).replace("==", " ")


def row(name: str, figures: dict[str, Any]) -> str:
    """The row of a framework."""
    counts = f"passes {figures['passed']} of {figures['total']}"
    for count, what in ((len(figures["skipped"]), "skipped"), (len(figures["deviations"]), "deviate")):
        if count:
            counts += f"; {count} {what}"
    return f"| `{name}` | {framework(name)} | {counts} |"


def main(arguments: list[str]) -> None:
    write = "--write" in arguments
    name, results = [argument for argument in arguments if argument != "--write"]
    wanted = row(name, json.loads(Path(results).read_text("utf-8")))
    lines = PAGE.read_text("utf-8").splitlines()
    numbers = [number for number, line in enumerate(lines) if line.startswith(f"| `{name}` |")]
    if len(numbers) != 1:
        raise SystemExit(f"{PAGE.name} has {len(numbers)} rows that begin with '| `{name}` |'; there must be one")
    if lines[numbers[0]] == wanted:
        return
    if not write:
        raise SystemExit(
            f"{PAGE.name} is out of date; scripts/conformance --write {name} replaces\n"
            f"    {lines[numbers[0]]}\nby\n    {wanted}"
        )
    lines[numbers[0]] = wanted
    PAGE.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
