"""Sessions of agents: look up, list, replay."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Optional

from .. import _arguments as arguments
from .._call import Call, ExpectedContent
from .._errors import CagedError
from .._http import AsyncSession, Session
from .._literals import EventType
from .._models.sessions import AgentSession, AgentSessionPage, ReplayEvent, ReplayPage, ReplaySummary
from .._tracebacks import short_tracebacks
from .sandbox_calls import at as sandbox_at

# The method named `list` hides the builtin inside the classes.
AgentSessionList = list[AgentSession]


def list_by_sandbox(sandbox_id: str) -> Call[AgentSessionList]:
    path = sandbox_at(sandbox_id, "/sessions")
    return Call("GET", path, ExpectedContent.ARRAY, AgentSession.list_from_api, repeatable=True)


def list_(page: Optional[int], per_page: Optional[int]) -> Call[AgentSessionPage]:
    query = {
        "page": arguments.optional_integer("page", page),
        "per_page": arguments.optional_integer("per_page", per_page),
    }
    return Call("GET", "/sessions", ExpectedContent.OBJECT, AgentSessionPage.from_api, query=query, repeatable=True)


def get(session_id: str) -> Call[AgentSession]:
    return Call("GET", at(session_id), ExpectedContent.OBJECT, AgentSession.from_api, repeatable=True)


def replay(
    session_id: str, after_seq: Optional[int], limit: Optional[int], type: Optional[EventType]
) -> Call[ReplayPage]:
    query = {
        "after_seq": arguments.optional_integer("after_seq", after_seq),
        "limit": arguments.optional_integer("limit", limit),
        "type": arguments.optional_text("type", type),
    }
    path = at(session_id, "/replay")
    return Call("GET", path, ExpectedContent.OBJECT, ReplayPage.from_api, query=query, repeatable=True)


def replay_summary(session_id: str) -> Call[ReplaySummary]:
    path = at(session_id, "/replay/summary")
    return Call("GET", path, ExpectedContent.OBJECT, ReplaySummary.from_api, repeatable=True)


def next_position(page: ReplayPage, after_seq: Optional[int]) -> Optional[int]:
    """Where the next page begins; None after the last one.

    Raises:
        CagedError: The API announces more pages but repeats a position, so that the loop would never end.
    """
    if not page.has_more:
        return None
    if after_seq is not None and page.next_seq <= after_seq:
        raise CagedError(
            f"the replay does not get on: there is more after {after_seq}, but next_seq is {page.next_seq}"
        )
    return page.next_seq


def at(session_id: str, rest: str = "") -> str:
    """The path of a session, or of something below it."""
    return f"/sessions/{arguments.segment('session_id', session_id)}{rest}"


@short_tracebacks
class Sessions:
    """``caged.sessions``: one per interaction with an agent."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def list_by_sandbox(self, sandbox_id: str) -> AgentSessionList:
        """All sessions of one sandbox."""
        return self._session.send(list_by_sandbox(sandbox_id))

    def list(self, page: Optional[int] = 1, per_page: Optional[int] = None) -> AgentSessionPage:
        """One page of the account's sessions, newest first. None leaves a number to the platform."""
        return self._session.send(list_(page, per_page))

    def get(self, session_id: str) -> AgentSession:
        """One session as it is now."""
        return self._session.send(get(session_id))

    def replay(
        self,
        session_id: str,
        after_seq: Optional[int] = None,
        limit: Optional[int] = None,
        type: Optional[EventType] = None,
    ) -> ReplayPage:
        """Some of a session's events, in order; `replay_events` gives them all.

        Args:
            after_seq: Only events after this sequence number.
            limit: At most so many; the platform allows 1000.
            type: Only events of this type.
        """
        return self._session.send(replay(session_id, after_seq, limit, type))

    def replay_events(
        self, session_id: str, after_seq: Optional[int] = None, type: Optional[EventType] = None
    ) -> Iterator[ReplayEvent]:
        """Every event of a session, one after another; pages are fetched as they are needed."""
        position: Optional[int] = after_seq
        while True:
            page = self._session.send(replay(session_id, position, None, type))
            yield from page.events
            position = next_position(page, position)
            if position is None:
                return

    def replay_summary(self, session_id: str) -> ReplaySummary:
        """A session's events in numbers."""
        return self._session.send(replay_summary(session_id))


@short_tracebacks
class AsyncSessions:
    """``caged.sessions`` of `AsyncCaged`; every method is described in `Sessions`."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def list_by_sandbox(self, sandbox_id: str) -> AgentSessionList:
        """See `Sessions.list_by_sandbox`."""
        return await self._session.send(list_by_sandbox(sandbox_id))

    async def list(self, page: Optional[int] = 1, per_page: Optional[int] = None) -> AgentSessionPage:
        """See `Sessions.list`."""
        return await self._session.send(list_(page, per_page))

    async def get(self, session_id: str) -> AgentSession:
        """See `Sessions.get`."""
        return await self._session.send(get(session_id))

    async def replay(
        self,
        session_id: str,
        after_seq: Optional[int] = None,
        limit: Optional[int] = None,
        type: Optional[EventType] = None,
    ) -> ReplayPage:
        """See `Sessions.replay`."""
        return await self._session.send(replay(session_id, after_seq, limit, type))

    async def replay_events(
        self, session_id: str, after_seq: Optional[int] = None, type: Optional[EventType] = None
    ) -> AsyncIterator[ReplayEvent]:
        """See `Sessions.replay_events`; for ``async for``."""
        position: Optional[int] = after_seq
        while True:
            page = await self._session.send(replay(session_id, position, None, type))
            for event in page.events:
                yield event
            position = next_position(page, position)
            if position is None:
                return

    async def replay_summary(self, session_id: str) -> ReplaySummary:
        """See `Sessions.replay_summary`."""
        return await self._session.send(replay_summary(session_id))
