"""The agent works in a sandbox of the emulator, with a scripted model: no tokens."""

from __future__ import annotations

import asyncio

import pytest
from agents.testing import ScriptedModel, assistant_message, function_call
from program import solve

from caged import AsyncCaged, Caged


def test_agent_works_in_a_sandbox(caged: Caged, async_caged: AsyncCaged, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_AGENTS_DISABLE_TRACING", "1")  # no traces are sent
    command = {"cmd": "echo 42 > answer; cat answer; pwd"}
    model = ScriptedModel([[function_call("exec_command", command, call_id="1")], [assistant_message("It is 42.")]])

    async def run() -> str:
        async with async_caged:
            return await solve(async_caged, "What is the answer?", model)

    assert asyncio.run(run()) == "It is 42."
    assert model.last_call is not None
    assert "\\n42\\n/workspace\\n" in str(model.last_call.input)
    assert caged.sandboxes.list() == []  # it is destroyed
