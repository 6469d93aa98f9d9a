"""The platform does not run a command, the model reads why, and runs it again."""

from __future__ import annotations

import asyncio

from program import agent, solve
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from caged import AsyncCaged
from caged.emulator import AccountView


def shell(command: str) -> ModelResponse:
    return ModelResponse(parts=[ToolCallPart("shell", {"command": command})])


def test_agent_repeats_a_command_that_was_not_run(async_caged: AsyncCaged, caged_emulator: AccountView) -> None:
    write, read_it, finish = "echo 42 > answer", "cat answer", ModelResponse([TextPart("42")])
    answers = [shell(write), shell(write), shell(read_it), finish]
    read: list[str] = []

    def scripted(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        read.append(str(messages[-1].parts[-1]))
        return answers[len(read) - 1]

    async def run() -> str:
        async with async_caged:
            with agent.override(model=FunctionModel(scripted)):
                return await solve(async_caged, "What is the answer?")

    caged_emulator.faults.add("sandboxes.exec", status=503, times=1)  # fails the test if it never triggers
    assert asyncio.run(run()) == "42"
    assert "The command was not run" in read[1]
    assert "exit code 0" in read[2]
    assert "exit code 0\\n42\\n" in read[3]
