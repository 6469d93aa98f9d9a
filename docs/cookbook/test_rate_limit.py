"""Your client has to come back later, and must know when."""

import pytest

from caged import Caged, CagedRateLimitError
from caged.emulator import AccountView


def test_it_says_when_to_come_back(caged: Caged, caged_emulator: AccountView) -> None:
    with caged_emulator.faults.add("sandboxes.create", rate_limit=90, times=1):
        with pytest.raises(CagedRateLimitError) as caught:
            caged.sandboxes.create()
    assert caught.value.retry_after == 90
    assert caged.sandboxes.create().status == "running"
