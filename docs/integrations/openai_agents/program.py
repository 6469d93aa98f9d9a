"""An agent whose shell is in a sandbox."""

from __future__ import annotations

import asyncio
from typing import Any

from agents import Model, RunConfig, Runner
from agents.sandbox import SandboxAgent, SandboxRunConfig
from agents.sandbox.capabilities import Shell, ShellToolSet
from agents.sandbox.errors import ExecTransportError
from agents.tool_context import ToolContext

from caged import AsyncCaged
from caged.integrations.openai_agents import CagedSandboxClient, CagedSandboxClientOptions


def explain_failures(tools: ShellToolSet) -> None:
    """Let the model read why a command was not run; else it ends the run of the agent."""
    invoke = tools.exec_command.on_invoke_tool

    async def invoke_or_explain(context: ToolContext[Any], arguments: str) -> Any:
        try:
            return await invoke(context, arguments)
        except ExecTransportError as error:
            return f"The command was not run: {error}"

    tools.exec_command.on_invoke_tool = invoke_or_explain


agent = SandboxAgent[None](
    name="Engineer",
    instructions="Solve the task with the shell. Say what you did in one sentence.",
    capabilities=[Shell(configure_tools=explain_failures)],
)


async def solve(client: AsyncCaged, task: str, model: str | Model = "gpt-5.1") -> str:
    """Let the agent work on a task in a sandbox of its own, which is destroyed at the end."""
    options = CagedSandboxClientOptions(template="python-312")
    sandbox = SandboxRunConfig(client=CagedSandboxClient(client), options=options)
    result = await Runner.run(agent, task, run_config=RunConfig(model=model, sandbox=sandbox))
    return str(result.final_output)


async def main() -> None:
    async with AsyncCaged() as client:
        print(await solve(client, "Write fizzbuzz.py and run it."))


if __name__ == "__main__":
    asyncio.run(main())
