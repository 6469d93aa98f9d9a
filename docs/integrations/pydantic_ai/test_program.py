"""The agent works in a sandbox of the emulator, with a scripted model: no tokens."""

from __future__ import annotations

import asyncio

from program import agent, solve
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from caged import AsyncCaged
from caged.emulator import AccountView


def scripted(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    """Run one command, and answer with what it printed."""
    last = messages[-1].parts[-1]
    if isinstance(last, ToolReturnPart):
        return ModelResponse([TextPart(str(last.content))])
    return ModelResponse([ToolCallPart("shell", {"command": "echo 42 > answer; cat answer; pwd"})])


def test_agent_works_in_a_sandbox(async_caged: AsyncCaged, caged_emulator: AccountView) -> None:
    async def run() -> str:
        async with async_caged:
            with agent.override(model=FunctionModel(scripted)):
                return await solve(async_caged, "What is the answer?")

    assert asyncio.run(run()) == "exit code 0\n42\n/workspace\n"
    assert caged_emulator.inventory.sandboxes() == []  # it is destroyed
