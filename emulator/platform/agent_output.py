"""The output of an agent's command: text, or the JSON that `claude --output-format` and `codex exec --json` print."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ..control.agents import Prompt, Reply
from ..store import AgentSession


class TextOutput:
    """Text: the pieces as they come, and the end of the last line."""

    def __init__(self, prompt: Prompt, reply: Reply, session: AgentSession) -> None:
        self._prompt = prompt
        self._reply = reply
        self._session = session

    def first(self) -> str:
        """Return what comes before the reply."""
        return ""

    def piece(self, text: str) -> str:
        """Return one piece of the reply as it is printed."""
        return text

    def last(self, milliseconds: float) -> str:
        """Return what comes after the reply, which took so long."""
        return "" if self._reply.whole.endswith("\n") or not self._reply.whole else "\n"


class JsonOutput(TextOutput):
    """One object, at the end."""

    def piece(self, text: str) -> str:
        return ""

    def last(self, milliseconds: float) -> str:
        reply, failed = self._reply, self._reply.exit_code != 0
        result = {
            "type": "result",
            "subtype": "error_during_execution" if failed else "success",
            "is_error": failed,
            "duration_ms": round(milliseconds),
            "duration_api_ms": round(milliseconds),
            "num_turns": 1,
            "result": reply.whole.rstrip("\n"),
            "session_id": self._session_id(),
            "total_cost_usd": max(0.0, reply.cost_usd),
            "usage": self._usage(),
        }
        return _line(result)

    def _usage(self) -> dict[str, int]:
        return {"input_tokens": max(0, self._reply.tokens_in), "output_tokens": max(0, self._reply.tokens_out)}

    def _session_id(self) -> str:
        return self._session.chosen_id or self._session.id

    def _model(self) -> str:
        return self._reply.model or self._session.model or "emulated"


class StreamJsonOutput(JsonOutput):
    """A line for the start, one for each piece, and the object at the end."""

    def first(self) -> str:
        return _line(
            {
                "type": "system",
                "subtype": "init",
                "cwd": self._prompt.cwd,
                "session_id": self._session_id(),
                "tools": [],
                "mcp_servers": [],
                "model": self._model(),
                "permissionMode": _permission_mode(self._prompt.arguments),
            }
        )

    def piece(self, text: str) -> str:
        message = {
            "type": "message",
            "role": "assistant",
            "model": self._model(),
            "content": [{"type": "text", "text": text}],
            "usage": self._usage(),
        }
        return _line({"type": "assistant", "message": message, "session_id": self._session_id()})


class CodexJsonOutput(TextOutput):
    """A line for each event: the reply is one message, a failure has its text."""

    def first(self) -> str:
        return _line({"type": "thread.started", "thread_id": self._session.id}) + _line({"type": "turn.started"})

    def piece(self, text: str) -> str:
        return ""

    def last(self, milliseconds: float) -> str:
        reply, text = self._reply, self._reply.whole.rstrip("\n")
        if reply.exit_code != 0:
            failed = {"type": "turn.failed", "error": {"message": text}}
            return _line({"type": "error", "message": text}) + _line(failed)
        item = {"id": "item_0", "type": "agent_message", "text": text}
        usage = {
            "input_tokens": max(0, reply.tokens_in),
            "cached_input_tokens": 0,
            "output_tokens": max(0, reply.tokens_out),
        }
        return _line({"type": "item.completed", "item": item}) + _line({"type": "turn.completed", "usage": usage})


def output_for(prompt: Prompt, reply: Reply, session: AgentSession) -> TextOutput:
    """Return the output in the format of the command line. Only claude and codex have other formats than text."""
    if prompt.program == "codex" and "--json" in _options(prompt.arguments):
        return CodexJsonOutput(prompt, reply, session)
    if prompt.program == "claude":
        output_format = _option(prompt.arguments, "--output-format")
        if output_format == "json":
            return JsonOutput(prompt, reply, session)
        if output_format == "stream-json":
            return StreamJsonOutput(prompt, reply, session)
    return TextOutput(prompt, reply, session)


def _permission_mode(arguments: Sequence[str]) -> str:
    if "--dangerously-skip-permissions" in arguments:
        return "bypassPermissions"
    return _option(arguments, "--permission-mode") or "default"


def _options(arguments: Sequence[str]) -> Sequence[str]:
    """The words before `--`."""
    return arguments[: arguments.index("--")] if "--" in arguments else arguments


def _option(arguments: Sequence[str], name: str) -> str:
    for index, word in enumerate(_options(arguments)):
        option, equals, value = word.partition("=")
        if option == name:
            return value if equals else next(iter(arguments[index + 1 :]), "")
    return ""


def _line(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n"
