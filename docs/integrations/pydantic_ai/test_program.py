"""The agent runs commands in a sandbox: a scripted model, no tokens."""

from __future__ import annotations

import asyncio
from typing import Any

from program import agent, solve
from pydantic_ai.messages import ModelMessage, ModelRequest, ModelResponse, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from caged import AsyncCaged


def scripted(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    """Run one command, then say what it printed."""
    last = messages[-1]
    assert isinstance(last, ModelRequest)
    for part in last.parts:
        if isinstance(part, ToolReturnPart):
            return ModelResponse(parts=[TextPart(f"The shell said: {part.content}")])
    return ModelResponse(parts=[ToolCallPart("shell", {"command": "echo 6 > answer; cat answer; pwd"})])


def test_agent_works_in_a_sandbox(async_caged: AsyncCaged, caged_emulator: Any) -> None:
    async def run() -> str:
        async with async_caged:
            with agent.override(model=FunctionModel(scripted)):
                return await solve(async_caged, "What is the answer?")

    assert asyncio.run(run()) == "The shell said: exit code 0\n6\n/workspace\n"
    assert caged_emulator.inventory.sandboxes == []
