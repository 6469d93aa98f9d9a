"""An agent runs over the budget of its sandbox, which is paused and cannot be resumed."""

import pytest

from caged import Caged, CagedAPIError
from caged.emulator import AccountView


def test_the_sandbox_is_paused(caged: Caged, caged_emulator: AccountView) -> None:
    box = caged.sandboxes.create(agents=["claude"], budget=5.00)
    caged_emulator.agent("claude").reply("Still thinking.", tokens_out=90_000, cost_usd=2.60)
    caged.sandboxes.exec(box.id, 'claude -p "Prove it"')
    assert caged.sandboxes.get(box.id).status == "running"
    caged.sandboxes.exec(box.id, 'claude -p "Prove it again"')
    caged_emulator.clock.tick()  # at once, in place of at the platform's next look
    paused = caged.sandboxes.get(box.id)
    assert (paused.status, paused.llm_cost) == ("paused", 5.20)
    with pytest.raises(CagedAPIError, match="has used its budget"):
        caged.sandboxes.resume(box.id)
