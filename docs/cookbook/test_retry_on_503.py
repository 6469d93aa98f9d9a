"""Your client must survive two 503s and then go on."""

from caged import Caged
from caged.emulator import AccountView


def test_two_503s_are_survived(caged: Caged, caged_emulator: AccountView) -> None:
    with caged_emulator.faults.add("sandboxes.list", status=503, retry_after=0, times=2) as fault:
        assert caged.sandboxes.list() == []  # your code in place of this line
        assert fault.triggered == 2
    caged_emulator.journal.assert_requested(operation="sandboxes.list", times=3)
