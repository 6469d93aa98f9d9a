"""The platform takes your request and never answers: your client must give up, and not do it a second time."""

import pytest

from caged import BoundSandbox, Caged, CagedTimeoutError
from caged.emulator import AccountView


def test_no_answer_ends_in_a_timeout(caged: Caged, caged_emulator: AccountView, caged_sandbox: BoundSandbox) -> None:
    with caged_emulator.faults.add("sandboxes.exec", hang=True) as fault:
        with pytest.raises(CagedTimeoutError, match="no answer"):
            caged.sandboxes.exec(caged_sandbox.id, "make release", timeout=0.5)
        assert fault.triggered == 1
