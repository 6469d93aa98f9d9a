"""One sandbox of two cannot be reached, and your code must go on with the other."""

from caged import Caged
from caged.emulator import AccountView


def test_the_other_one_does_the_work(caged: Caged, caged_emulator: AccountView) -> None:
    broken, fine = caged.sandboxes.create(), caged.sandboxes.create()
    with caged_emulator.faults.add("sandboxes.exec", sandbox=broken.id, unreachable=True):
        results = {box.id: caged.sandboxes.exec(box.id, "echo done") for box in (broken, fine)}
    assert results[fine.id].output == "done\n"
    assert not results[broken.id].ok
    assert "cannot be reached" in (results[broken.id].error or "")
