"""A deep agent whose files and commands are in a sandbox."""

from __future__ import annotations

from typing import Any

from deepagents import create_deep_agent
from langchain.agents.middleware import ToolRetryMiddleware
from langchain_core.language_models import BaseChatModel

from caged import BoundSandbox, Caged, CagedServerError
from caged.integrations.deepagents import CagedSandbox

MODEL = "anthropic:claude-opus-5-5"


def solve(box: BoundSandbox, task: str, model: str | BaseChatModel = MODEL) -> str:
    """Let an agent work on a task in a sandbox; calls that the platform did not answer are repeated."""
    retries = ToolRetryMiddleware(max_retries=2, retry_on=(CagedServerError,), initial_delay=0.1)
    agent: Any = create_deep_agent(model, backend=CagedSandbox(box), middleware=[retries])
    messages = agent.invoke({"messages": [{"role": "user", "content": task}]})["messages"]
    return str(messages[-1].content)


def main() -> None:
    with Caged() as client, client.sandboxes.open("python-312") as box:
        print(solve(box, "Write fizzbuzz.py and run it."))


if __name__ == "__main__":
    main()
