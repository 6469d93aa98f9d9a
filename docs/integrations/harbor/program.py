"""An agent that asks a model for one command after the other, for ``harbor run``:

    harbor run --path count --agent program:Engineer --model anthropic/claude-opus-5-5 \
        --env caged.integrations.harbor:CagedEnvironment --ek template=minimal
"""

from __future__ import annotations

from typing import Any

from harbor.agents.base import BaseAgent
from harbor.environments.base import BaseEnvironment
from harbor.llms.lite_llm import LiteLLM
from harbor.models.agent.context import AgentContext

from caged import CagedError

DONE = "DONE"
PROMPT = f"Answer with one command for the shell and nothing else, or with {DONE}.\n\n"


class Engineer(BaseAgent):
    @staticmethod
    def name() -> str:
        return "engineer"

    def version(self) -> str:
        return "1"

    async def setup(self, environment: BaseEnvironment) -> None:
        pass

    async def next_command(self, said: list[str]) -> str:
        """Ask the model."""
        answer: Any = await LiteLLM(str(self.model_name)).call(PROMPT + "\n".join(said))
        return str(answer.content)

    async def run(self, instruction: str, environment: BaseEnvironment, context: AgentContext) -> None:
        said = [instruction]
        while (command := await self.next_command(said)) != DONE:
            try:
                result = await environment.exec(command, timeout_sec=60)
                outcome = f"exit code {result.return_code}\n{result.stdout}{result.stderr}"
            except CagedError as error:
                outcome = f"The command was not run: {error}"
            said.append(f"$ {command}\n{outcome}")
