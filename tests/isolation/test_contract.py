"""The platform's contract is kept behind every kind of isolation (tests/emulator/test_verify.py has it check by
check)."""

from __future__ import annotations

import pytest
from levels import Served

from caged.emulator.verify import verify


# `namespace` is what `auto` takes where it can: tests/emulator/test_verify.py has all checks there. `bwrap-user` has
# the root file system and the init of `bwrap`; its rights, which no check is about, are those of test_inside.py.
@pytest.mark.parametrize("anywhere", ["namespace-user", "bwrap", "process"], indirect=True)
def test_the_contract_is_kept_behind_every_kind_of_isolation(anywhere: Served) -> None:
    """A run of all checks but those without a sandbox: 3 s."""
    groups = ["sandboxes", "exec", "files", "git", "snapshots", "tickets", "terminal", "streaming", "mcp", "ports"]
    report = verify(anywhere.base_url, anywhere.api_key, only=[f"{group}.*" for group in groups])
    assert report.summary == f"{len(report.results)} equal, 0 different, 0 not checked", "\n".join(report.lines())
    assert report.left_behind == []
