"""Nine hours go by in milliseconds, and the alerts of a budget come in their order, each at its moment."""

from caged import Caged
from caged.emulator import AccountView


def test_alerts_come_in_order(caged: Caged, caged_emulator: AccountView) -> None:
    caged_emulator.clock.freeze(at="2030-01-01T00:00:00Z")
    box = caged.sandboxes.create(budget=0.25, timeout=86400)
    caged_emulator.clock.advance(hours=10)
    alerts = [(alert.meta["percent"], alert.created_at[11:13]) for alert in caged.alerts.list().alerts]
    assert alerts == [("100", "09"), ("95", "08"), ("80", "07")], "newest first"
    assert caged.sandboxes.get(box.id).status == "paused"
