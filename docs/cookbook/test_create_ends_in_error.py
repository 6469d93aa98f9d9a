"""A sandbox is created and ends in `error`: your code must not go on with it."""

import pytest

from caged import Caged, Sandbox
from caged.emulator import AccountView


def ready_sandbox(client: Caged) -> Sandbox:  # code under test
    box = client.sandboxes.create()
    if box.status != "running":
        client.sandboxes.destroy(box.id)
        raise RuntimeError(f"sandbox {box.id} is {box.status}")
    return box


def test_a_sandbox_that_does_not_come_up_is_thrown_away(caged: Caged, caged_emulator: AccountView) -> None:
    with caged_emulator.faults.add("sandboxes.create", outcome="error", times=1):
        with pytest.raises(RuntimeError, match="is error"):
            ready_sandbox(caged)
        assert ready_sandbox(caged).status == "running"
    assert [box.status for box in caged.sandboxes.list()] == ["running"]
