"""You want a sandbox that has cost 4.80 USD, and need neither an agent nor time for it."""

from caged import Caged
from caged.emulator import AccountView


def test_a_warning_comes_before_the_end(caged: Caged, caged_emulator: AccountView) -> None:
    box = caged.sandboxes.create(budget=5.00)
    assert caged_emulator.spend(box.id, usd=4.50) >= 4.50
    assert [alert.meta["percent"] for alert in caged.alerts.list().alerts] == ["90"]
    assert caged.sandboxes.get(box.id).status == "running"
    caged_emulator.spend(box.id, usd=0.50)
    assert caged.sandboxes.get(box.id).status == "paused"
