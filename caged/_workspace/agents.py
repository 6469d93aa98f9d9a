"""The agents of a bound sandbox."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, Literal, Optional, Union, overload

from .._naming import public
from .._tracebacks import short_tracebacks, wrap
from .agent_dialects import AgentReply
from .agent_prompts import AgentCall, AgentPrompt, ask, checked_prompt
from .agent_streams import AgentRun, AgentStream, AsyncAgentStream
from .binding import AsyncBound, Bound
from .paths import SandboxPath


@public
@short_tracebacks
class BoundAgent:
    """An agent in a sandbox, from ``box.agent(name)``."""

    def __init__(self, bound: Bound, call: AgentCall) -> None:
        self._bound = bound
        self._call = call

    @overload
    def ask(
        self,
        prompt: str,
        *,
        model: Optional[str] = None,
        json: bool = True,
        timeout: Optional[float] = None,
        session: Optional[str] = None,
        stream: Literal[False] = False,
    ) -> AgentReply: ...

    @overload
    def ask(
        self,
        prompt: str,
        *,
        model: Optional[str] = None,
        json: bool = True,
        timeout: Optional[float] = None,
        session: Optional[str] = None,
        stream: Literal[True],
    ) -> AgentStream: ...

    def ask(
        self,
        prompt: str,
        *,
        model: Optional[str] = None,
        json: bool = True,
        timeout: Optional[float] = None,
        session: Optional[str] = None,
        stream: bool = False,
    ) -> Union[AgentReply, AgentStream]:
        """Give the agent a prompt, and wait for its reply.

        It may edit files and run commands without being allowed to each time: it is in a sandbox.

        Args:
            prompt: A text of any length.
            model: The agent's name of a model; None means the agent's own choice.
            json: False takes the text that the agent prints for people: no cost, tokens and session, and no other
                failure than the exit code is noticed.
            timeout: Seconds, above 0; None means 300. Then the agent and all its processes are ended.
            session: `AgentReply.session_id` of an earlier reply, whose conversation goes on; None begins one.
            stream: True returns the agent's events, to be read as they come, and raises errors there.

        Raises:
            CagedAgentError: The agent reports an error or failed, or is not installed.
            CagedCommandTimeoutError: It took too long; the error has what it printed until then.
            CagedSandboxError: The sandbox cannot run commands.
            CagedError: An argument that cannot be used; nothing is sent.
        """
        checked = checked_prompt(self._call, prompt, model, json, timeout, session, stream)
        if stream:
            return AgentStream(self._bound, AgentRun(self._bound._binding, checked))
        return self._bound._run(ask(self._bound._binding, checked))

    def __repr__(self) -> str:
        return f"BoundAgent({self._call.dialect.program!r}, sandbox={self._bound.id!r})"


@public
@short_tracebacks
class AsyncBoundAgent:
    """An agent in a sandbox, from ``box.agent(name)``; see `BoundAgent`."""

    def __init__(self, bound: AsyncBound, call: AgentCall) -> None:
        self._bound = bound
        self._call = call

    @overload
    def ask(
        self,
        prompt: str,
        *,
        model: Optional[str] = None,
        json: bool = True,
        timeout: Optional[float] = None,
        session: Optional[str] = None,
        stream: Literal[False] = False,
    ) -> Coroutine[Any, Any, AgentReply]: ...

    @overload
    def ask(
        self,
        prompt: str,
        *,
        model: Optional[str] = None,
        json: bool = True,
        timeout: Optional[float] = None,
        session: Optional[str] = None,
        stream: Literal[True],
    ) -> AsyncAgentStream: ...

    def ask(
        self,
        prompt: str,
        *,
        model: Optional[str] = None,
        json: bool = True,
        timeout: Optional[float] = None,
        session: Optional[str] = None,
        stream: bool = False,
    ) -> Union[Coroutine[Any, Any, AgentReply], AsyncAgentStream]:
        """See `BoundAgent.ask`. It is awaited; with ``stream=True`` it is for ``async for``, without ``await``."""
        checked = checked_prompt(self._call, prompt, model, json, timeout, session, stream)
        if stream:
            return AsyncAgentStream(self._bound, AgentRun(self._bound._binding, checked))
        coroutine: Coroutine[Any, Any, AgentReply] = _ask(self._bound, checked)
        return coroutine

    def __repr__(self) -> str:
        return f"AsyncBoundAgent({self._call.dialect.program!r}, sandbox={self._bound.id!r})"


@wrap
async def _ask(bound: AsyncBound, prompt: AgentPrompt) -> AgentReply:
    return await bound._run(ask(bound._binding, prompt))


@short_tracebacks
class Agents(Bound):
    """Agents of a bound sandbox."""

    def agent(
        self,
        name: str,
        *,
        options: Sequence[str] = (),
        cwd: Optional[SandboxPath] = None,
        env: Optional[Mapping[str, str]] = None,
    ) -> BoundAgent:
        """An agent that the sandbox was created with: ``box.agent("claude").ask(prompt)``. Nothing is sent.

        Args:
            name: claude (or claude-code) or codex.
            options: Further words of its command line, such as ``["--max-turns", "5"]``; none that the SDK sets, such
                as ``--model``.
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
        cwd: Optional[SandboxPath] = None,
        env: Optional[Mapping[str, str]] = None,
    ) -> AsyncBoundAgent:
        """See `Agents.agent`."""
        return AsyncBoundAgent(self, AgentCall(name, options, cwd, env))
