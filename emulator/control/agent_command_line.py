"""The command lines of agent programs: the prompt, the model and the sessions in them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Optional

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
    """Find the prompt in an agent's command line, or on its standard input; None when there is none.

    `claude -p PROMPT`, `claude PROMPT`, `codex exec PROMPT`, `codex exec resume SESSION PROMPT`,
    `aider --message PROMPT`, with other options around.
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
        elif word == "resume" and program == "codex" and not prompts:
            if "--last" not in words:
                words = _without_session(words)
        elif not word.startswith("-") or word == "-":
            prompts.append(word)
    text = " ".join(word for word in prompts if word != "-") or stdin.strip()
    return text or None


def _without_session(words: Sequence[str]) -> list[str]:
    """What follows `resume`, without the id of a session: its first word that is no option."""
    for index, word in enumerate(words):
        if not word.startswith("-") and (index == 0 or words[index - 1] not in _WITH_VALUE):
            return [*words[:index], *words[index + 1 :]]
    return list(words)


def model_name(program: str, arguments: Sequence[str]) -> Optional[str]:
    """Find the value of `--model` (`-m`, where that is not the prompt) in an agent's command line."""
    return _value(arguments, {"--model", "-m"} - set(_PROMPT_OPTION.get(program, ())))


def resumed_session(program: str, arguments: Sequence[str]) -> Optional[str]:
    """Find the session that a command line of claude goes on with, `--resume SESSION`."""
    session = _value(arguments, {"--resume", "-r"}) if program == "claude" else None
    # Without a session, the option opens a menu.
    return None if session is None or session.startswith("-") else session


def chosen_session(program: str, arguments: Sequence[str]) -> Optional[str]:
    """Find the id that a command line of claude gives to its session, `--session-id ID`."""
    return _value(arguments, {"--session-id"}) if program == "claude" else None


def _value(arguments: Sequence[str], names: Collection[str]) -> Optional[str]:
    """The value of the first option of these names; None without one."""
    for index, word in enumerate(arguments):
        name, equals, value = word.partition("=")
        if word == "--":
            return None
        if name in names and (equals or index + 1 < len(arguments)):
            return (value if equals else arguments[index + 1]) or None
    return None
