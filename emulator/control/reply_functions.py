"""What a function that answers an agent's prompts gets, and what it returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Callable, Union

from .agents import Prompt, Reply

if TYPE_CHECKING:
    from caged import Caged, ExecResult


class PromptText(str):
    """The prompt's text, with what belongs to it: `agent`, `program`, `sandbox_id`, `session_id`, `cwd`, `arguments`;
    `text` is the same as itself."""

    agent: str
    program: str
    sandbox_id: str
    session_id: str
    cwd: str
    arguments: Sequence[str]
    text: str

    @classmethod
    def of(cls, prompt: Prompt) -> PromptText:
        """Make the text of a prompt.

        Args:
            prompt: The prompt.
        """
        made = cls(prompt.text)
        vars(made).update(vars(prompt))
        return made


@dataclass(frozen=True)
class PromptSandbox:
    """The sandbox of a prompt, for the function that answers it. Its calls are requests of the account, so that the
    journal shows them.

    Attributes:
        id: Id of the sandbox.
        cwd: The agent's working directory.
        client: A client of the account.
    """

    id: str
    cwd: str
    client: Caged = field(repr=False)

    def read(self, path: str) -> str:
        """Return the text of a file of the sandbox.

        Args:
            path: Its path; a relative one is below /workspace.
        """
        return self.client.files.read(self.id, path)

    def write(self, path: str, content: str) -> None:
        """Write a file of the sandbox.

        Args:
            path: Its path; a relative one is below /workspace.
            content: Its text.
        """
        self.client.files.write(self.id, path, content)

    def exec(self, command: str) -> ExecResult:
        """Run a command in the sandbox.

        Args:
            command: A command line of the sandbox's shell.
        """
        return self.client.sandboxes.exec(self.id, command)


#: A function that answers; with None the agent gives its default reply.
Answerer = Callable[[PromptText, PromptSandbox], Union[Reply, str, None]]
