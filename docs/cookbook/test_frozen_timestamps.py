"""Time stands still, so that what your code writes down is the same in every run."""

from caged import Caged, Sandbox
from caged.emulator import AccountView


def line(client: Caged, box: Sandbox) -> str:  # code under test
    box = client.sandboxes.get(box.id)
    return f"{box.created_at} {box.status} {box.total_cost:.2f}"


def test_a_report_can_be_compared_with_a_text(caged: Caged, caged_emulator: AccountView) -> None:
    caged_emulator.clock.freeze(at="2030-01-01T09:00:00Z")
    box = caged.sandboxes.create()
    assert line(caged, box) == "2030-01-01T09:00:00.000Z running 0.00"
    caged_emulator.clock.advance(minutes=5)
    caged.sandboxes.pause(box.id)
    assert caged.sandboxes.logs(box.id)[-1].timestamp == "2030-01-01T09:05:00.000Z"
