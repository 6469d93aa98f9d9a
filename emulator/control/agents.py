"""Prompts of agent programs inside sandboxes, and the replies that they print."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Optional

from .description import check_values, option
from .values import Files, Text

#: Exit code of an agent program that was called without a prompt.
USAGE_ERROR = 2
#: Where the files of a sandbox are; a relative path begins in the first.
_WRITABLE = ("/workspace", "/root", "/tmp")


@dataclass(frozen=True)
class Prompt:
    """A prompt to an agent program.

    Attributes:
        agent: The platform's name of the agent (claude-code).
        program: The command (claude).
        text: The prompt.
        sandbox_id: Id of the sandbox.
        cwd: The working directory.
        arguments: The program's arguments.
        session_id: Id of the agent's session.
    """

    agent: str
    program: str
    text: str
    sandbox_id: str
    cwd: str
    arguments: Sequence[str] = ()
    session_id: str = ""


@dataclass(frozen=True)
class Reply:
    """The reply of an agent to a prompt.

    Attributes:
        text: The text, or pieces that are printed one by one.
        exit_code: Of the agent's command, from 0 to 255.
        tokens_in: Tokens of the session.
        tokens_out: Tokens of the session.
        cost_usd: Spent from the sandbox's budget.
        model: The session's model, where it is another one than the command line's.
        files: Path -> content, written before the text; a relative path is in the workspace.
        delay: Seconds before the text, or before each piece.
    """

    text: Text = option("", "The text, or pieces that are printed one by one.", methods=("reply", "reply_to"))
    exit_code: int = option(0, "Of the agent's command.", at_least=0, at_most=255, methods=("reply", "reply_to"))
    tokens_in: int = option(0, "Tokens of the session.", at_least=0, methods=("reply", "reply_to"))
    tokens_out: int = option(0, "Tokens of the session.", at_least=0, methods=("reply", "reply_to"))
    cost_usd: float = option(
        0.0,
        "Spent from the sandbox's budget. When that uses it up, the pause follows within a second, or at once with"
        " `clock.tick()`.",
        unit="USD",
        at_least=0,
        methods=("reply", "reply_to"),
    )
    model: Optional[str] = option(None, "The session's model.", methods=("reply", "reply_to"))
    files: Files = option(
        {},
        "Path -> content, written before the text; a relative path is in the workspace.",
        flag="--file",
        methods=("reply", "reply_to"),
    )
    delay: float = option(
        0.0, "Time before the text, or before each piece.", unit="seconds", at_least=0, methods=("reply", "reply_to")
    )

    def check(self) -> None:
        """Check values and types; a function of a test may return anything.

        Raises:
            ValueError, TypeError: An attribute is wrong; the text starts with its name.
        """
        check_values(self)
        check_files(self.files)

    @property
    def pieces(self) -> list[str]:
        """The pieces of the text, one for a text that is not in pieces."""
        return [self.text] if isinstance(self.text, str) else list(self.text)

    @property
    def whole(self) -> str:
        """The whole text."""
        return "".join(self.pieces)


def check_files(files: object) -> None:
    """Check files that a reply writes: a mapping of paths inside the sandbox to their content.

    Raises:
        ValueError, TypeError: With the path.
    """
    if not isinstance(files, Mapping):
        raise TypeError(f"files: must be a mapping of paths to str or bytes, not {files!r}")
    for path, content in files.items():
        if not isinstance(path, str) or not path or "\0" in path:
            raise ValueError(f"files: {path!r} is not a path")
        full = posixpath.normpath(posixpath.join(_WRITABLE[0], path))
        if not any(full.startswith(f"{top}/") for top in _WRITABLE):
            raise ValueError(f"files: {path!r} is not below {', '.join(_WRITABLE)}, where a sandbox's files are")
        if not isinstance(content, (str, bytes)):
            raise TypeError(f"files[{path!r}]: must be a str or bytes, not {content!r}")


def default_reply(prompt: Prompt) -> Reply:
    """The reply to a prompt for which none was added. It says that it is emulated, so that no test mistakes it for a
    model's; it is the same for the same prompt, on every machine."""
    return Reply(f"[caged emulator] {prompt.agent} called no model. Prompt: {prompt.text}\n")
