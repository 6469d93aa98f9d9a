"""A slow answer is an answer: your client must wait for it, and for one that is too slow no longer than you say."""

import pytest

from caged import Caged, CagedTimeoutError
from caged.emulator import AccountView


def test_a_client_with_patience_and_one_without(caged: Caged, caged_emulator: AccountView) -> None:
    with caged_emulator.faults.add("account.get", delay=0.2):
        assert caged.account.get().name
        with caged_emulator.client(timeout=0.05, max_retries=0) as hasty, pytest.raises(CagedTimeoutError):
            hasty.account.get()
