"""The connection drops after the call was done, so that a blind retry would do it twice."""

import pytest

from caged import Caged, CagedConnectionError, Sandbox
from caged.emulator import AccountView


def create_once(client: Caged, mark: str) -> Sandbox:  # code under test: looks before it tries again
    try:
        return client.sandboxes.create(env={"MARK": mark})
    except CagedConnectionError:
        (made,) = client.sandboxes.list()
        return made


def test_a_lost_answer_makes_no_second_sandbox(caged: Caged, caged_emulator: AccountView) -> None:
    with caged_emulator.faults.add("sandboxes.create", drop="after", times=1):
        box = create_once(caged, "one")
    assert [one.id for one in caged.sandboxes.list()] == [box.id]


def test_a_call_that_was_never_done_fails_in_the_same_way(caged: Caged, caged_emulator: AccountView) -> None:
    with caged_emulator.faults.add("sandboxes.create", drop="before", times=1):
        with pytest.raises(CagedConnectionError):
            caged.sandboxes.create()
    assert caged.sandboxes.list() == []
