"""A fault that never triggers or an unused stub shows nothing, so it fails and says what came in its place."""

import pytest

from caged import BoundSandbox, Caged
from caged.emulator import AccountView


def test_a_fault_for_nothing_is_an_error(
    caged: Caged, caged_emulator: AccountView, caged_sandbox: BoundSandbox
) -> None:
    with pytest.raises(AssertionError, match=r"a fault never triggered:\n.*files\.read.*\(no request matched\)"):
        with caged_emulator.faults.add("files.read", status=503):
            caged.files.list(caged_sandbox.id)
    with pytest.raises(AssertionError, match="nearest first:\n  echo npm ci"):
        with caged_emulator.commands.stub("npm install", "added 42 packages\n"):
            caged.sandboxes.exec(caged_sandbox.id, "echo npm ci")
    caged_emulator.faults.add("snapshots.*", status=503, optional=True)  # not reported
