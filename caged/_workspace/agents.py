"""Prompts to the agents of a bound sandbox."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Optional

from .. import _arguments as arguments
from .._core import Plan
from .._errors import CagedAgentError, CagedError
from .._naming import public
from .._tracebacks import short_tracebacks
from .agent_dialects import AgentDialect, AgentFailure, AgentReply, UnreadableOutput, dialect
from .binding import AsyncBound, Binding, Bound
from .commands import RunResult, run

#: Of a shell.
_NOT_FOUND = 127


class AgentCall:
    """What `agent` was given, checked."""

    def __init__(self, name: Any, options: Any, cwd: Any, env: Any) -> None:
        self.dialect: AgentDialect = dialect(name)
        self.options = arguments.texts("options", list(options) if isinstance(options, tuple) else options)
        self.cwd = cwd
        self.env = {**self.dialect.env, **({} if env is None else arguments.text_mapping("env", env))}


def ask(
    binding: Binding, call: AgentCall, prompt: Any, model: Any, as_json: Any, timeout: Any, session: Any
) -> Plan[AgentReply]:
    """Run the agent's command, and read its reply."""
    if not arguments.text("prompt", prompt).strip():
        raise CagedError("prompt is empty")
    arguments.boolean("json", as_json)
    for name, value in (("model", model), ("session", session)):
        if value is not None and not arguments.text(name, value):
            raise CagedError(f"{name} is empty; leave it out for the agent's own")
    words = call.dialect.words(model, session, as_json, call.options)
    result = yield from run(binding, words, call.cwd, call.env, prompt, None, timeout, False)
    return read_reply(binding, call.dialect, result, as_json)


def read_reply(binding: Binding, agent: AgentDialect, result: RunResult, as_json: bool) -> AgentReply:
    """The reply that an agent's command has printed.

    Raises:
        CagedAgentError: It reports an error, has failed, or printed something else.
    """

    def error(message: str, raw: Any = None) -> CagedAgentError:
        return CagedAgentError(agent.program, message, result.exit_code, result.stdout, result.stderr, raw)

    if result.exit_code == _NOT_FOUND:
        raise error(f"sandbox {binding.sandbox_id} has no such program; create it with agents=[{agent.names[0]!r}]")
    if not as_json:
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


@public
@short_tracebacks
class BoundAgent:
    """An agent in a sandbox, from ``box.agent(name)``."""

    def __init__(self, bound: Bound, call: AgentCall) -> None:
        self._bound = bound
        self._call = call

    def ask(
        self,
        prompt: str,
        *,
        model: Optional[str] = None,
        json: bool = True,
        timeout: Optional[float] = None,
        session: Optional[str] = None,
    ) -> AgentReply:
        """Give the agent a prompt, and wait for its reply.

        It may edit files and run commands without being allowed to each time: it is in a sandbox.

        Args:
            prompt: A text of any length.
            model: The agent's name of a model; None means the agent's own choice.
            json: False takes the text that the agent prints for people: no cost, tokens and session, and no other
                failure than the exit code is noticed.
            timeout: Seconds, above 0; None means 300. Then the agent and all its processes are ended.
            session: `AgentReply.session_id` of an earlier reply, whose conversation goes on; None begins one.

        Raises:
            CagedAgentError: The agent reports an error or failed, or is not installed.
            CagedCommandTimeoutError: It took too long; the error has what it printed until then.
            CagedSandboxError: The sandbox cannot run commands.
        """
        return self._bound._run(ask(self._bound._binding, self._call, prompt, model, json, timeout, session))

    def __repr__(self) -> str:
        return f"BoundAgent({self._call.dialect.program!r}, sandbox={self._bound.id!r})"


@public
@short_tracebacks
class AsyncBoundAgent:
    """An agent in a sandbox, from ``box.agent(name)``; see `BoundAgent`."""

    def __init__(self, bound: AsyncBound, call: AgentCall) -> None:
        self._bound = bound
        self._call = call

    async def ask(
        self,
        prompt: str,
        *,
        model: Optional[str] = None,
        json: bool = True,
        timeout: Optional[float] = None,
        session: Optional[str] = None,
    ) -> AgentReply:
        """See `BoundAgent.ask`."""
        return await self._bound._run(ask(self._bound._binding, self._call, prompt, model, json, timeout, session))

    def __repr__(self) -> str:
        return f"AsyncBoundAgent({self._call.dialect.program!r}, sandbox={self._bound.id!r})"


@short_tracebacks
class Agents(Bound):
    """Agents of a bound sandbox."""

    def agent(
        self,
        name: str,
        *,
        options: Sequence[str] = (),
        cwd: Optional[str] = None,
        env: Optional[Mapping[str, str]] = None,
    ) -> BoundAgent:
        """An agent that the sandbox was created with: ``box.agent("claude").ask(prompt)``. Nothing is sent.

        Args:
            name: claude (or claude-code) or codex.
            options: Further words of its command line, such as ``["--max-turns", "5"]``.
            cwd: Its working directory; None means ``/workspace``.
            env: Variables besides those of the sandbox, such as an API key.

        Raises:
            CagedError: An agent whose command line is unknown, or an argument that cannot be used.
        """
        return BoundAgent(self, AgentCall(name, options, cwd, env))


@short_tracebacks
class AsyncAgents(AsyncBound):
    """Agents of a bound sandbox; every method is described in `Agents`."""

    def agent(
        self,
        name: str,
        *,
        options: Sequence[str] = (),
        cwd: Optional[str] = None,
        env: Optional[Mapping[str, str]] = None,
    ) -> AsyncBoundAgent:
        """See `Agents.agent`."""
        return AsyncBoundAgent(self, AgentCall(name, options, cwd, env))
