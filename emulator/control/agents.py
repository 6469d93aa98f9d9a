"""What the agent programs inside a sandbox answer.

`Agents.reply` is the seam: it gets the agent, the prompt and where it was asked, and gives the whole reply.
The default is a fixed text that says that it is emulated, so that no test mistakes it for a model's.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Callable, Optional, Union

USAGE_ERROR = 2
#: Where the files of a sandbox are; a relative path begins in the first.
_WRITABLE = ("/workspace", "/root", "/tmp")


@dataclass(frozen=True)
class Prompt:
    """What an agent program was asked. `agent` is the platform's name (claude-code), `program` the command,
    `session_id` the session that it made."""

    agent: str
    program: str
    text: str
    sandbox_id: str
    cwd: str
    arguments: Sequence[str] = ()
    session_id: str = ""


@dataclass(frozen=True)
class Reply:
    """`text`: or pieces of it, printed as they come. `delay`: seconds before the text, or before each piece. `files`:
    path -> content, written before it (a relative path is in the workspace). `model`: when it is another than the
    command line's. `cost_usd`: spent from the sandbox's budget."""

    text: Union[str, Sequence[str]] = ""
    exit_code: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    cost_usd: float = 0.0
    model: Optional[str] = None
    files: Mapping[str, Union[str, bytes]] = field(default_factory=dict)
    delay: float = 0.0

    def check(self) -> None:
        """Check values and types; a function of a test may return anything.

        Raises:
            ValueError, TypeError: An attribute is wrong; the text starts with its name.
        """
        from .stubs import check_amount, check_exit_code, check_text_pieces

        check_text_pieces("text", self.text)
        check_exit_code(self.exit_code)
        for name in ("tokens_in", "tokens_out"):
            tokens = getattr(self, name)
            check_amount(name, tokens)
            if not isinstance(tokens, int):
                raise TypeError(f"{name}: must be an int, not {tokens!r}")
        check_amount("cost_usd", self.cost_usd)
        check_amount("delay", self.delay)
        if self.model is not None and not isinstance(self.model, str):
            raise TypeError(f"model: must be a str, not {self.model!r}")
        check_files(self.files)

    @property
    def pieces(self) -> list[str]:
        return [self.text] if isinstance(self.text, str) else list(self.text)

    @property
    def whole(self) -> str:
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


def emulated(prompt: Prompt) -> Reply:
    """The default reply: the same for the same prompt, on every machine."""
    return Reply(f"[caged emulator] {prompt.agent} was not really asked. Prompt: {prompt.text}\n")


class Agents:
    def __init__(self, reply: Callable[[Prompt], Reply] = emulated) -> None:
        self._reply = reply

    def reply(self, prompt: Prompt) -> Reply:
        return self._reply(prompt)


#: Options of the agents' command lines that take a value, so that the value is not taken for the prompt.
_WITH_VALUE = frozenset(
    [
        "--output-format",
        "--input-format",
        "--model",
        "-m",
        "--append-system-prompt",
        "--system-prompt",
        "--allowedTools",
        "--disallowedTools",
        "--allowed-tools",
        "--disallowed-tools",
        "--max-turns",
        "--session-id",
        "--resume",
        "-r",
        "--add-dir",
        "--permission-mode",
        "--mcp-config",
        "--settings",
        "--fallback-model",
        "--sandbox",
        "-s",
        "--profile",
        "--cd",
        "-C",
        "--config",
        "-c",
        "--image",
        "-i",
        "--api-key",
        "--agent",
        "--edit-format",
        "--name",
        "-n",
        "--provider",
    ]
)
#: Options whose value is the prompt, by program.
_PROMPT_OPTION = {
    "aider": ("--message", "-m"),
    "goose": ("--text", "-t"),
    "grok": ("--prompt", "-p"),
}
_SUBCOMMANDS = {"codex": ("exec", "e"), "goose": ("run",), "cline": ("task",)}


def prompt_text(program: str, arguments: Sequence[str], stdin: str) -> Optional[str]:
    """The prompt in an agent's command line, or on its standard input; None when there is none.

    `claude -p PROMPT`, `claude PROMPT`, `codex exec PROMPT`, `aider --message PROMPT`, with other options around.
    """
    prompts: list[str] = []
    own = _PROMPT_OPTION.get(program, ())
    words = list(arguments)
    if words and words[0] in _SUBCOMMANDS.get(program, ()):
        words.pop(0)
    while words:
        word = words.pop(0)
        name, equals, value = word.partition("=")
        if word == "--":
            prompts += words
            break
        if name in own:
            prompts.append(value if equals else (words.pop(0) if words else ""))
        elif word in _WITH_VALUE:
            words[:1] = []
        elif not word.startswith("-") or word == "-":
            prompts.append(word)
    text = " ".join(word for word in prompts if word != "-") or stdin.strip()
    return text or None


def model_name(program: str, arguments: Sequence[str]) -> Optional[str]:
    """The value of `--model` (`-m`, where that is not the prompt) in an agent's command line."""
    names = {"--model", "-m"} - set(_PROMPT_OPTION.get(program, ()))
    for index, word in enumerate(arguments):
        name, equals, value = word.partition("=")
        if word == "--":
            return None
        if name in names and (equals or index + 1 < len(arguments)):
            return (value if equals else arguments[index + 1]) or None
    return None
