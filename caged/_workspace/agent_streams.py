"""The events of an agent while it works."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Optional, TypeVar

from .. import _timing
from .._closeable import AsyncCloseable, Closeable
from .._constants import EXEC_TIMEOUT
from .._core import CallPlan
from .._errors import CagedCommandTimeoutError, CagedError, CagedProcessLostError
from .._naming import public
from .._tracebacks import short_tracebacks
from .agent_dialects import AgentReply, event_of
from .agent_prompts import AgentPrompt, read_reply
from .binding import AsyncBound, Binding, Bound
from .cancellation import uninterrupted
from .command_script import command_line
from .commands import RunResult
from .processes import OutputChunk, OutputReader, ProcessRecord, kill, look, start

#: Seconds that one request waits for output.
_WAIT = 5.0

S = TypeVar("S", bound="AgentStream")
A = TypeVar("A", bound="AsyncAgentStream")


class AgentRun:
    """An agent's command in the background, as plans see it.

    Attributes:
        reply: None before its end.
        over: Whether it has ended, or was ended.
    """

    def __init__(self, binding: Binding, prompt: AgentPrompt) -> None:
        self.reply: Optional[AgentReply] = None
        self.over = False
        self._binding = binding
        self._prompt = prompt
        self._limit = EXEC_TIMEOUT if prompt.timeout is None else prompt.timeout
        self._begun = self._deadline = math.inf
        self._record: Optional[ProcessRecord] = None
        self._reader: Optional[OutputReader] = None
        self._streams = {"stdout": bytearray(), "stderr": bytearray()}
        self._line = ""
        self._timed_out = False

    def next_events(self) -> CallPlan[list[dict[str, Any]]]:
        """Start the agent, if that has not been done, and return its next events; none after some seconds without one,
        or when it has ended.

        Raises:
            CagedAgentError: It has failed. Its events were returned before.
            CagedCommandTimeoutError: It took too long, and was ended. Its events were returned before.
        """
        if self._reader is None:
            call = self._prompt.call
            # A start that fails is not repeated: it may have given the prompt to the agent. `start` ends that one.
            self.over = True
            self._record = yield from start(
                self._binding, self._prompt.words, call.cwd, call.env, self._prompt.text, None
            )
            self.over = False
            self._reader = OutputReader(self._binding, self._record)
            self._begun = _timing.now()
            self._deadline = self._begun + self._limit
        assert self._record is not None
        try:
            # At least once after the deadline: an agent that has ended by then has not taken too long.
            chunks = yield from self._reader.next_chunks(max(0.0, min(_WAIT, self._deadline - _timing.now())))
        except CagedProcessLostError:
            if not self._timed_out:
                raise
            raise self._timeout() from None
        found = self._events_of(chunks)
        if self._reader.running and _timing.now() >= self._deadline:
            if not self._timed_out:
                yield from kill(self._binding, self._record, "KILL")
                self._timed_out = True
            elif not chunks:
                raise self._timeout()
        elif self._reader.ended and not found:
            yield from self._finish(self._record)
        return found

    def _events_of(self, chunks: Sequence[OutputChunk]) -> list[dict[str, Any]]:
        """The events in what was read, and in the last line, which may have no end."""
        lines: list[str] = []
        for chunk in chunks:
            self._streams[chunk.stream] += chunk.data
            if chunk.stream == "stdout":
                *complete, self._line = (self._line + chunk.text).split("\n")
                lines += complete
        if self._reader is not None and self._reader.ended:
            lines.append(self._line)
            self._line = ""
        return [event for event in map(event_of, lines) if event is not None]

    def _finish(self, record: ProcessRecord) -> CallPlan[None]:
        state = yield from look(self._binding, record)
        self.over = True
        exit_code = state.exit_code or 0
        result = RunResult(*self._printed(), exit_code, _timing.now() - self._begun)
        # One that exited with 0 had finished before the signal came.
        if self._timed_out and exit_code != 0:
            raise self._timeout()
        self.reply = read_reply(self._binding, self._prompt.call.dialect, result, self._prompt.form)

    def _timeout(self) -> CagedCommandTimeoutError:
        """The error of an agent that was ended because it took too long. Nothing comes after it."""
        self.over = True
        return CagedCommandTimeoutError(command_line(self._prompt.words), self._limit, *self._printed())

    def _printed(self) -> tuple[bytes, bytes]:
        return bytes(self._streams["stdout"]), bytes(self._streams["stderr"])

    def end(self) -> CallPlan[None]:
        """End the agent and all its processes, if it runs."""
        if not self.over and self._record is not None:
            yield from kill(self._binding, self._record, "KILL")
        self.over = True


class _Events:
    def __init__(self, run: AgentRun) -> None:
        self._agent = run
        self._events: list[dict[str, Any]] = []

    @property
    def reply(self) -> AgentReply:
        """The reply, when all events were read.

        Raises:
            CagedError: There is none (yet).
        """
        if self._agent.reply is None:
            raise CagedError("there is no reply yet; read the agent's events to their end")
        return self._agent.reply


@public
@short_tracebacks
class AgentStream(_Events, Closeable):
    """The events of an agent as they come: ``for event in box.agent("claude").ask(prompt, stream=True)``.

    An event is a dict, in the agent's own form. The agent starts when the first one is read. Close the stream
    (``with``, `close`) when you stop before the last event, or the agent keeps running.

    Attributes:
        reply: When all events were read.

    Raises:
        CagedAgentError: Reading the next event: the agent reports an error or failed, or is not installed.
        CagedCommandTimeoutError: Reading the next event: the agent took too long, and was ended; the error has what it
            printed until then.
        CagedError: Reading the first event: the agent could not be started, or whether it was is not known; then it is
            ended. No event comes after it, and the prompt is not given again.
    """

    def __init__(self, bound: Bound, run: AgentRun) -> None:
        super().__init__(run)
        self._bound = bound

    def __iter__(self: S) -> S:
        return self

    def __next__(self) -> dict[str, Any]:
        while not self._events and not self._agent.over:
            self._events = self._bound._run(self._agent.next_events())
        if not self._events:
            raise StopIteration
        return self._events.pop(0)

    def close(self) -> None:
        """End the agent, if it has not ended. May be called twice."""
        self._events.clear()
        self._bound._run(self._agent.end())


@public
@short_tracebacks
class AsyncAgentStream(_Events, AsyncCloseable):
    """The events of an agent as they come: ``async for event in box.agent("claude").ask(prompt, stream=True)``.

    See `AgentStream`; ``async with`` closes it.
    """

    def __init__(self, bound: AsyncBound, run: AgentRun) -> None:
        super().__init__(run)
        self._bound = bound

    def __aiter__(self: A) -> A:
        return self

    async def __anext__(self) -> dict[str, Any]:
        while not self._events and not self._agent.over:
            self._events = await self._bound._run(self._agent.next_events())
        if not self._events:
            raise StopAsyncIteration
        return self._events.pop(0)

    async def close(self) -> None:
        """See `AgentStream.close`."""
        self._events.clear()
        await uninterrupted(self._bound._run(self._agent.end()))
