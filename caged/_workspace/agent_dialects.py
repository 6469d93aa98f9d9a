"""The command lines of agents, and the JSON that they print: text, without I/O.

claude: https://docs.claude.com/en/docs/claude-code/headless; codex: https://developers.openai.com/codex/noninteractive
"""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Optional, cast

from .._errors import CagedError
from .._naming import did_you_mean, public

Form = Literal["text", "json", "events"]

_CLAUDE_EVENTS = ["--output-format", "stream-json", "--verbose"]

# What a caller does in place of an option that the SDK sets.
_ALWAYS_SET = "leave it out"
_FORM = "ask(json=False) and ask(stream=True) choose the format"
_MODEL = "use ask(model=...)"
_SESSION = "use ask(session=...)"


@public
@dataclass(frozen=True)
class AgentReply:
    """The reply of an agent to a prompt.

    Attributes:
        text: The agent's last message.
        cost: US dollars; None when the agent does not report it, as codex.
        tokens_in: Tokens that the model read, those of a cache included; None when the agent does not report them.
        tokens_out: Tokens that the model wrote.
        session_id: The agent's own, to go on with: ``ask(..., session=reply.session_id)``; None when it has none.
        raw: What the agent printed: claude's result as a dict, codex's events as a list of dicts, a str without JSON.
    """

    text: str = ""
    cost: Optional[float] = None
    tokens_in: Optional[int] = None
    tokens_out: Optional[int] = None
    session_id: Optional[str] = None
    raw: Any = field(default=None, repr=False, hash=False)

    @property
    def tokens(self) -> Optional[int]:
        """The sum of both; None when the agent does not report them."""
        return None if self.tokens_in is None or self.tokens_out is None else self.tokens_in + self.tokens_out


class UnreadableOutput(Exception):
    """The agent printed something else than its format."""


class AgentFailure(Exception):
    """The agent reports an error; the text is its message."""

    def __init__(self, message: str, raw: Any) -> None:
        super().__init__(message)
        self.raw = raw


class AgentDialect(ABC):
    """How one agent is called. The prompt is its standard input, which has no limit of size.

    Attributes:
        program: The command.
        names: What the platform and its users call the agent; the first is that of ``agents=[...]``.
        own_options: Those that `words` sets, and what a caller uses in place of them.
    """

    program: str
    names: tuple[str, ...]
    own_options: Mapping[str, str]
    env: Mapping[str, str] = {}

    def check_options(self, options: Sequence[str]) -> None:
        """Check further options of the command line.

        Raises:
            CagedError: One of them is set by the SDK.
        """
        for word in options:
            if word == "--":
                return
            name = word.partition("=")[0]
            if name in self.own_options:
                raise CagedError(f"options has {name!r}, which the SDK sets itself; {self.own_options[name]}")

    @abstractmethod
    def words(self, model: Optional[str], session: Optional[str], form: Form, options: Sequence[str]) -> list[str]:
        """The command.

        Args:
            form: What it prints: text for people, JSON with the reply, or a line of JSON for each event.
        """

    @abstractmethod
    def read(self, output: str) -> AgentReply:
        """Read what was printed as JSON.

        Raises:
            AgentFailure, UnreadableOutput
        """


class Claude(AgentDialect):
    program = "claude"
    names = ("claude", "claude-code")
    own_options = {
        **dict.fromkeys(("-p", "--print", "--dangerously-skip-permissions"), _ALWAYS_SET),
        "--output-format": _FORM,
        "--model": _MODEL,
        **dict.fromkeys(("-r", "--resume"), _SESSION),
    }
    # Without it, claude refuses to skip permissions as root.
    env = {"IS_SANDBOX": "1"}

    def words(self, model: Optional[str], session: Optional[str], form: Form, options: Sequence[str]) -> list[str]:
        words = [self.program, "-p", "--dangerously-skip-permissions"]
        words += {"text": [], "json": ["--output-format", "json"], "events": _CLAUDE_EVENTS}[form]
        words += ["--model", model] if model is not None else []
        words += ["--resume", session] if session is not None else []
        return [*words, *options]

    def read(self, output: str) -> AgentReply:
        results = [one for one in _objects(output) if one.get("type") == "result"]
        if not results:
            raise UnreadableOutput("no result")
        raw = results[-1]
        text = _typed(raw, "result", str)
        # `error_max_turns`, for example, comes without a text, and in some versions without `is_error`.
        failed = raw.get("is_error") or (text is None and (_typed(raw, "subtype", str) or "").startswith("error"))
        if text is None and not failed:
            raise UnreadableOutput("a result without text")
        text = text or ""
        if failed:
            errors = "; ".join(filter(None, map(str, _typed(raw, "errors", list) or [])))
            raise AgentFailure(text or errors or str(raw.get("subtype") or "unknown error"), raw)
        usage = _typed(raw, "usage", dict) or {}
        inputs = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
        return AgentReply(
            text,
            cost=_cost(raw, "total_cost_usd"),
            tokens_in=sum(_tokens(usage, name) or 0 for name in inputs) if usage else None,
            tokens_out=_tokens(usage, "output_tokens"),
            session_id=_typed(raw, "session_id", str),
            raw=raw,
        )


class Codex(AgentDialect):
    program = "codex"
    names = ("codex",)
    own_options = {
        **dict.fromkeys(("--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox"), _ALWAYS_SET),
        "--json": _FORM,
        **dict.fromkeys(("-m", "--model"), _MODEL),
    }

    def words(self, model: Optional[str], session: Optional[str], form: Form, options: Sequence[str]) -> list[str]:
        # The workspace need not be a git repository, and the sandbox is the platform's.
        words = [self.program, "exec", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox"]
        words += ["--json"] if form != "text" else []
        words += ["--model", model] if model is not None else []
        words += options
        return [*words, *(["resume", session] if session is not None else []), "-"]

    def read(self, output: str) -> AgentReply:
        events = list(_objects(output))
        text, session, usage = "", None, None
        failure: Optional[str] = None
        for event in events:
            kind = event.get("type")
            if kind == "thread.started":
                session = _typed(event, "thread_id", str)
            elif kind == "item.completed":
                item = _typed(event, "item", dict) or {}
                if item.get("type") == "agent_message":
                    text = _typed(item, "text", str) or ""
            elif kind == "turn.completed":
                usage, failure = _typed(event, "usage", dict) or {}, None
            elif kind == "turn.failed":
                failure = str((_typed(event, "error", dict) or {}).get("message") or "the turn failed")
            elif kind == "error" and failure is None:
                failure = str(event.get("message") or "unknown error")
        if failure is not None:
            raise AgentFailure(failure, events)
        if usage is None:
            raise UnreadableOutput("no completed turn")
        return AgentReply(
            text,
            tokens_in=_tokens(usage, "input_tokens"),
            tokens_out=_tokens(usage, "output_tokens"),
            session_id=session,
            raw=events,
        )


DIALECTS: tuple[AgentDialect, ...] = (Claude(), Codex())


def dialect(name: Any) -> AgentDialect:
    """The dialect of an agent.

    Raises:
        CagedError: There is none.
    """
    known = {one: each for each in DIALECTS for one in each.names}
    if not isinstance(name, str) or name not in known:
        hint = (did_you_mean(name, known) if isinstance(name, str) else "") or "."
        raise CagedError(
            f"the command line of agent {name!r} is not known{hint} Known: {', '.join(known)}; "
            "others can be called with run()"
        )
    return known[name]


def event_of(line: str) -> Optional[dict[str, Any]]:
    """The event that a line is; None for another line."""
    return next(_objects(line), None)


def _objects(output: str) -> Iterator[dict[str, Any]]:
    """The JSON objects of an output: the output itself, or its lines; what is not JSON is left out."""
    try:
        values = _json(output)
    except (ValueError, RecursionError):
        # Not splitlines(): it also splits at characters such as U+2028, which JSON strings may hold.
        values = [value for line in output.split("\n") for value in _parsed(line)]
    for value in values if isinstance(values, list) else [values]:
        if isinstance(value, dict):
            yield value


def _parsed(line: str) -> list[Any]:
    try:
        return [_json(line)]
    except (ValueError, RecursionError):
        return []


def _json(text: str) -> Any:
    """Decode JSON, which has no NaN and no infinite numbers. Raises ValueError, RecursionError."""

    def number(digits: str) -> float:
        value = float(digits)
        if not math.isfinite(value):
            raise ValueError(digits)
        return value

    return json.loads(text, parse_constant=number, parse_float=number)


def _typed(value: Mapping[str, Any], name: str, kind: Any) -> Any:
    """A member, if it has this type, and else None."""
    member = value.get(name)
    return member if isinstance(member, kind) and not isinstance(member, bool) else None


def _tokens(usage: Mapping[str, Any], name: str) -> Optional[int]:
    """A number of tokens; None where there is none.

    Raises:
        UnreadableOutput: It is not a number of things.
    """
    count = usage.get(name)
    if count is None:
        return None
    if not isinstance(count, int) or isinstance(count, bool) or count < 0:
        raise UnreadableOutput(f"{json.dumps(count)[:100]} as {name}, which is not a number of tokens")
    return count


def _cost(raw: Mapping[str, Any], name: str) -> Optional[float]:
    """An amount of money; None where there is none.

    Raises:
        UnreadableOutput: It is below 0.
    """
    cost = _typed(raw, name, (int, float))
    if cost is not None and cost < 0:
        raise UnreadableOutput(f"{json.dumps(cost)[:100]} as {name}, which is below 0")
    return cast(Optional[float], cost)
