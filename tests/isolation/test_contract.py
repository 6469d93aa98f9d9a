"""The emulator keeps to the platform's contract at each isolation level (tests/emulator/test_verify.py tests each
check)."""

from __future__ import annotations

import pytest
from levels import Served

from caged.emulator.verify import verify

#: The groups of checks whose answers come out of a sandbox. At level `process` its paths are translated, too.
GROUPS = {
    "bwrap": ["exec", "files", "snapshots", "terminal", "ports"],
    "process": ["exec", "files", "git", "snapshots", "terminal", "mcp", "ports"],
}


# Without `namespace`, which `auto` selects where it can: tests/emulator/test_verify.py runs all checks there.
@pytest.mark.parametrize("anywhere", GROUPS, indirect=True)
def test_verify_finds_no_difference_at_any_level(anywhere: Served) -> None:
    groups = GROUPS[anywhere.level]
    report = verify(anywhere.base_url, anywhere.api_key, only=[f"{group}.*" for group in groups])
    assert report.summary == f"{len(report.results)} equal, 0 different, 0 not checked", "\n".join(report.lines())
    assert report.left_behind == []
