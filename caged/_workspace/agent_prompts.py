"""Prompts to agents: what a caller gave, the command, and the reply that it prints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Optional

from .. import _arguments as arguments
from .._core import CallPlan
from .._errors import CagedAgentError, CagedError
from .agent_dialects import AgentDialect, AgentFailure, AgentReply, Form, UnreadableOutput, dialect
from .binding import Binding
from .command_script import checked_command
from .commands import RunResult, run

#: Of a shell.
_NOT_FOUND = 127


class AgentCall:
    """What `agent` was given, checked."""

    def __init__(self, name: Any, options: Any, cwd: Any, env: Any) -> None:
        self.dialect: AgentDialect = dialect(name)
        self.options = arguments.texts("options", options)
        self.dialect.check_options(self.options)
        spec = checked_command([self.dialect.program, *self.options], cwd, env, None)
        self.cwd = spec.cwd
        self.env = {**self.dialect.env, **spec.env}


@dataclass(frozen=True)
class AgentPrompt:
    """What `ask` was given, checked."""

    call: AgentCall
    text: str
    form: Form
    words: Sequence[str]
    timeout: Optional[float]


def checked_prompt(
    call: AgentCall, prompt: Any, model: Any, as_json: Any, timeout: Any, session: Any, stream: Any
) -> AgentPrompt:
    """Check what a caller gave.

    Raises:
        CagedError: An argument that cannot be used; nothing is sent.
    """
    if not arguments.text("prompt", prompt).strip():
        raise CagedError("prompt is empty")
    for name, value in (("model", model), ("session", session)):
        if value is not None and not arguments.text(name, value):
            raise CagedError(f"{name} is empty; leave it out for the agent's own")
        if value is not None and value.startswith("-"):
            raise CagedError(f"{name} begins with '-', so the agent would take it for an option")
    arguments.boolean("json", as_json)
    if arguments.boolean("stream", stream) and not as_json:
        raise CagedError("stream=True reads the agent's events, which are JSON; leave json=False out")
    form: Form = "events" if stream else "json" if as_json else "text"
    limit = None if timeout is None else arguments.seconds("timeout", timeout)
    return AgentPrompt(call, prompt, form, call.dialect.words(model, session, form, call.options), limit)


def ask(binding: Binding, prompt: AgentPrompt) -> CallPlan[AgentReply]:
    """Run the agent's command, and read its reply."""
    call = prompt.call
    result = yield from run(binding, prompt.words, call.cwd, call.env, prompt.text, None, prompt.timeout, False)
    return read_reply(binding, call.dialect, result, prompt.form)


def read_reply(binding: Binding, agent: AgentDialect, result: RunResult, form: Form) -> AgentReply:
    """The reply that an agent's command has printed.

    Raises:
        CagedAgentError: It reports an error, has failed, or printed something else.
    """

    def error(message: str, raw: Any = None) -> CagedAgentError:
        return CagedAgentError(agent.program, message, result.exit_code, result.stdout, result.stderr, raw)

    if result.exit_code == _NOT_FOUND:
        raise error(f"sandbox {binding.sandbox_id} has no such program; create it with agents=[{agent.names[0]!r}]")
    if form == "text":
        if result.exit_code != 0:
            raise error(f"it exited with {result.exit_code}")
        return AgentReply(result.stdout.rstrip("\n"), raw=result.stdout)
    try:
        reply = agent.read(result.stdout)
    except AgentFailure as failure:
        raise error(str(failure), failure.raw) from None
    except UnreadableOutput as problem:
        what = f"it exited with {result.exit_code}" if result.exit_code else f"its output has {problem}"
        raise error(what) from None
    if result.exit_code != 0:
        raise error(f"it exited with {result.exit_code}", reply.raw)
    return reply
