"""An agent with one tool, a shell, whose commands run in a sandbox."""

from __future__ import annotations

import asyncio

from pydantic_ai import Agent, ModelRetry, RunContext

from caged import AsyncCaged, CagedError
from caged.integrations.pydantic_ai import CagedWorkspace

agent = Agent(instructions="Solve the task with the shell. Say what you did in one sentence.")


@agent.tool
async def shell(context: RunContext[object], command: str) -> str:
    """Run a command in the sandbox; returns its exit code and what it printed."""
    try:
        result = await context.workspace.run(command, shell=True, timeout=120)
    except CagedError as error:
        raise ModelRetry(f"The command was not run: {error}") from error
    return f"exit code {result.exit_code}\n{result.stdout}{result.stderr}"


async def solve(client: AsyncCaged, task: str) -> str:
    """Let the agent work on a task in a sandbox of its own, which is destroyed at the end."""
    workspace = CagedWorkspace(client, template="python-312")
    try:
        return (await agent.run(task, model="anthropic:claude-opus-5-5", workspace=workspace)).output
    finally:
        if workspace.ref is not None:
            await client.sandboxes.destroy(workspace.ref.id)


async def main() -> None:
    async with AsyncCaged() as client:
        print(await solve(client, "Write fizzbuzz.py and run it."))


if __name__ == "__main__":
    asyncio.run(main())
