"""The platform does not run a command, the model reads why, and runs it again."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from agents.items import TResponseOutputItem
from agents.testing import ScriptedModel, assistant_message, function_call
from agents.testing.model import ModelCall, ModelStep
from program import solve

from caged import AsyncCaged


@pytest.mark.parametrize("fault", [{"status": 503}, {"drop": "before"}, {"unreachable": True}])
def test_agent_repeats_a_command_that_the_platform_did_not_run(
    async_caged: AsyncCaged, caged_emulator: Any, fault: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_AGENTS_DISABLE_TRACING", "1")

    def build(call_id: str) -> list[TResponseOutputItem]:
        return [function_call("exec_command", {"cmd": "echo built | tee result"}, call_id=call_id)]

    def build_with_fault(call: ModelCall) -> list[TResponseOutputItem]:
        # Only now, when the session has begun.
        caged_emulator.faults.add("sandboxes.exec", times=1, **fault)
        return build("1")

    model = ScriptedModel([ModelStep.respond(build_with_fault), build("2"), [assistant_message("It is built.")]])

    async def run() -> str:
        async with async_caged:
            return await solve(async_caged, "Build it.", model)

    assert asyncio.run(run()) == "It is built."
    first, second = (str(call.input[-1]) for call in model.calls[1:])
    assert "The command was not run" in first
    assert "built" in second
