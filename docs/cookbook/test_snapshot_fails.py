"""A snapshot is accepted and fails later, so that there is nothing to go back to."""

import pytest

from caged import BoundSandbox, Caged, CagedError
from caged.emulator import AccountView


def test_a_failed_snapshot_is_an_error_to_whoever_waits(
    caged: Caged, caged_emulator: AccountView, caged_sandbox: BoundSandbox
) -> None:
    with caged_emulator.faults.add("snapshots.create", outcome="failed", times=1):
        snapshot = caged.snapshots.create(caged_sandbox.id, name="before")
        with pytest.raises(CagedError, match="failed"):
            caged.snapshots.wait(snapshot.id)
    assert caged.sandboxes.exec(caged_sandbox.id, "true").ok, "the sandbox has nothing of it"
