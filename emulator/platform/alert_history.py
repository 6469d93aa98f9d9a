"""What alerts depend on besides the present: causes that were reported, and errors, costs and activity up to now."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from ..control.clock import Clock, from_rfc3339
from ..store import AccountRecord, AgentSession, Store

#: Newest sessions whose costs are averaged.
SESSIONS_MOST = 100
#: Errors that are remembered at most; a threshold above it is never reached.
_MOST_ERRORS = 100_000


class AlertHistory:
    """A *place* is the id of a sandbox, or of an account for what belongs to no sandbox."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        #: By place: the causes that were reported, and the times of the newest errors.
        self._reported: dict[str, set[str]] = {}
        self._errors: dict[str, deque[float]] = {}
        #: By account: the costs of its newest sessions.
        self._costs: dict[str, deque[float]] = {}
        #: By active session: the time of its newest event, by the account's clock and not as a client reports it.
        self._active: dict[str, float] = {}

    # --- causes

    def is_new(self, place: str, cause: str) -> bool:
        """Whether a cause was not reported yet."""
        return cause not in self._reported.get(place, ())

    def add_cause(self, place: str, cause: str) -> None:
        """Note that a cause was reported."""
        self._reported.setdefault(place, set()).add(cause)

    def remove_cause(self, place: str, cause: str) -> None:
        """Let a cause be reported again."""
        self._reported.get(place, set()).discard(cause)

    def reported(self, place: str) -> Iterable[str]:
        """Return the causes that were reported of a sandbox, or of an account."""
        return self._reported.get(place, ())

    def remember(self, place: str, causes: Iterable[str]) -> None:
        """Take the causes that an earlier emulator has reported."""
        if causes:
            self._reported[place] = set(causes)

    # --- errors, costs and activity

    def errors(self, place: str) -> deque[float]:
        """The times of the newest errors, oldest first. The caller adds and removes them."""
        return self._errors.setdefault(place, deque(maxlen=_MOST_ERRORS))

    def costs(self, account_id: str) -> deque[float]:
        """The costs of the newest sessions of an account, in USD, oldest first. The caller adds them."""
        return self._costs.setdefault(account_id, deque(maxlen=SESSIONS_MOST))

    def note_activity(self, session: AgentSession) -> None:
        """Note that a session has an event now."""
        self._active[session.id] = self._clock.time()

    def last_activity(self, session: AgentSession) -> float:
        """Return the time of a session's newest event; for a session from before a restart, as its events have it."""
        known = self._active.get(session.id)
        return known if known is not None else max(session.started_at, session.history.last or 0.0)

    def end_session(self, session: AgentSession) -> None:
        """Forget the activity of a session that has ended."""
        self._active.pop(session.id, None)

    # --- all of it

    def shift(self, account_id: str, seconds: float) -> None:
        """Keep errors and silence of an account as long ago as they were before its clock was set."""
        store = self._store
        for place, times in self._errors.items():
            sandbox = store.sandboxes.get(place)
            if account_id == (sandbox.account_id if sandbox is not None else place):
                self._errors[place] = deque((at + seconds for at in times), maxlen=_MOST_ERRORS)
        for session in store.sessions.values():
            if session.account_id == account_id and session.status == "active":
                self._active[session.id] = self.last_activity(session) + seconds

    def restore(self, store: Store) -> None:
        """Count the errors and costs of records that were loaded."""
        for place, account_id, history in [
            *((box.id, box.account_id, box.history) for box in store.sandboxes.values()),
            *((account.id, account.id, account.history) for account in store.accounts.values()),
        ]:
            # A client may have reported any time, and the clock may have been set back since.
            errors = [from_rfc3339(event.timestamp) for event in history.events() if event.type == "error"]
            past = [at for at in errors if at <= self._clock.now(account_id)[0]]
            if past:
                self._errors[place] = deque(sorted(past), maxlen=_MOST_ERRORS)
        ended = [session for session in store.sessions.values() if session.ended_at is not None]
        for session in sorted(ended, key=lambda session: session.ended_at or 0.0):
            self.costs(session.account_id).append(session.llm_cost + session.compute_cost)

    def forget(self, account: AccountRecord) -> None:
        """Forget the reported causes, errors and costs of an account."""
        for known in (self._reported, self._errors, self._costs):
            known.pop(account.id, None)

    def remove_stale(self) -> None:
        """Forget what is known of sandboxes, accounts and sessions that are gone."""
        store = self._store
        for known in (self._reported, self._errors):
            for identifier in [name for name in known if name not in store.sandboxes and name not in store.accounts]:
                del known[identifier]
        for identifier in [name for name in self._costs if name not in store.accounts]:
            del self._costs[identifier]
        for identifier in [name for name in self._active if name not in store.sessions]:
            del self._active[identifier]
