"""The numbers of docs/limits.md are those of the code."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

from cases import each

from caged.emulator.workers import THREADS

TEXT = (Path(__file__).parents[2] / "docs" / "limits.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| .+? \| ([\d,]+).*? \| `([\w/]+)\.py: ([\w.]+)` \|$", TEXT, re.MULTILINE)
TABLE_LINES = [line for line in TEXT.splitlines() if ".py: " in line]


def test_every_row_has_a_number_and_a_constant():
    assert len(ROWS) == len(TABLE_LINES) > 50


@each(("number", "module", "constant"), ROWS)
def test_a_bound_is_that_of_the_code(number: str, module: str, constant: str):
    value = importlib.import_module(f"caged.emulator.{module.replace('/', '.')}")
    for name in constant.split("."):
        value = getattr(value, name)
    assert value == int(number.replace(",", ""))


def test_threads_are_those_of_the_code():
    rows = re.findall(r"^\| `(\w+)`: .+? \| (\d+) \| (\d+) \|$", TEXT, re.MULTILINE)
    assert {kind: (int(threads), int(share)) for kind, threads, share in rows} == THREADS
