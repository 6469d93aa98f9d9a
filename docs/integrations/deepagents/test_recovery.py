"""The platform fails in the middle of the agent's work: the middleware repeats the call, and the work goes on."""

from __future__ import annotations

import pytest
from langchain_core.messages import AIMessage
from program import solve
from scripted_model import ScriptedModel, call

from caged import BoundSandbox
from caged.emulator import AccountView


@pytest.mark.parametrize("failures", [1, 2])
@pytest.mark.caged(template="python-312")
def test_agent_finishes_although_the_platform_fails(
    caged_sandbox: BoundSandbox, caged_emulator: AccountView, failures: int
) -> None:
    model = ScriptedModel(answers=[call("execute", command="echo built > result; cat result"), AIMessage("Built.")])
    caged_emulator.faults.add("sandboxes.exec", status=503, times=failures)  # fails the test if it never triggers
    assert solve(caged_sandbox, "Build it.", model) == "Built."
    assert caged_sandbox.read_text("result") == "built\n"
    assert str(model.received[-1].content).startswith("built\n")
