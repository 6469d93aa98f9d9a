"""Each promise of `docs/security.md` names a test that exists."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
_HELD_BY = re.compile(r"\| `(tests/[\w/]+\.py)(?:::(\w+))?` \|$", re.M)


def test_each_promise_names_a_test_that_exists() -> None:
    text = (ROOT / "docs" / "security.md").read_text("utf-8")
    promised, _heading, not_promised = text.partition("## Not promised")
    headings = ("| promise", "| ---")
    rows = [line for line in promised.splitlines() if line.startswith("| ") and not line.startswith(headings)]
    named = _HELD_BY.findall(promised)
    assert len(named) == len(rows) > 30
    for path, test in named:
        source = (ROOT / path).read_text("utf-8")
        assert f"def {test}(" in source if test else source, f"{path}::{test}"
    assert not_promised.strip()
