"""The sandbox dies in the middle of a command, with all that ran in it, and your code begins anew in another one."""

from caged import Caged
from caged.emulator import AccountView


def build(client: Caged, command: str) -> str:  # code under test
    for _ in range(2):
        box = client.sandboxes.create()
        result = client.sandboxes.exec(box.id, command)
        if result.error is None:
            return result.output
        client.sandboxes.destroy(box.id)
    raise RuntimeError("two sandboxes died")


def test_the_work_begins_anew_in_another_one(caged: Caged, caged_emulator: AccountView) -> None:
    with caged_emulator.faults.add("sandboxes.exec", outcome="dies", delay=0.1, times=1):
        assert build(caged, "sleep 0.5; echo built") == "built\n"
    assert len(caged_emulator.journal.requests(operation="sandboxes.create")) == 2
    assert len(caged.sandboxes.list()) == 1
