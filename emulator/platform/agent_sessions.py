"""Agent sessions: one for each interaction with an agent (docs/contract/wire-contract.md 3.6)."""

from __future__ import annotations

from typing import Optional

from ..control.clock import Clock
from ..control.randomness import Randomness
from ..store import AccountRecord, AgentSession, Sandbox, Store
from . import cost
from .errors import not_found
from .signals import Signals

#: Sessions of an account that are kept; the oldest that are over go first.
MOST = 10_000
#: Characters of an id that a command line gives to a session. Those of agents are UUIDs.
_LONGEST_ID = 100


class AgentSessions:
    def __init__(self, store: Store, clock: Clock, randomness: Randomness, signals: Signals) -> None:
        self._store = store
        self._clock = clock
        self._randomness = randomness
        self._signals = signals

    # --- looking

    def get(self, account: AccountRecord, session_id: str) -> AgentSession:
        """Return a session, also one whose sandbox is gone. 404 for another account's."""
        session = self._store.sessions.get(session_id)
        if session is None or session.account_id != account.id:
            raise not_found("session", session_id)
        return session

    def of(self, account: AccountRecord) -> list[AgentSession]:
        """The account's sessions, newest first."""
        sessions = reversed(list(self._store.sessions.values()))
        return [session for session in sessions if session.account_id == account.id]

    def of_sandbox(self, sandbox: Sandbox) -> list[AgentSession]:
        """The sandbox's sessions, newest first."""
        sessions = reversed(list(self._store.sessions.values()))
        return [session for session in sessions if session.sandbox_id == sandbox.id]

    def has_conversation(self, sandbox: Sandbox, agent_type: str, name: str) -> bool:
        """Whether an agent can go on with a session, by its id or by the one that its command line gave to it.

        It is one of the sandbox, or of any of the account where a snapshot was restored: what an agent knows of a
        session is in files.
        """
        return any(
            name in (session.id, session.chosen_id)
            for session in self._store.sessions.values()
            if session.agent_type == agent_type
            and session.account_id == sandbox.account_id
            and (session.sandbox_id == sandbox.id or sandbox.has_restored)
        )

    def compute_cost(self, session: AgentSession) -> float:
        """Return the cost, in USD, of its sandbox's machine time while it was active, up to now."""
        sandbox = self._store.sandboxes.get(session.sandbox_id)
        if session.ended_at is not None or sandbox is None:
            return session.compute_cost
        return cost.compute(sandbox, self._clock.time()) - session.compute_before

    # --- beginning and ending

    def begin(
        self, sandbox: Sandbox, agent_type: str, model: Optional[str], chosen_id: Optional[str] = None
    ) -> AgentSession:
        """Begin the sandbox's one active session. The caller holds the sandbox's `agent_lock`."""
        store, now = self._store, self._clock.time()
        session = AgentSession(
            id=self._randomness.identifier("sess", store.sessions),
            account_id=sandbox.account_id,
            sandbox_id=sandbox.id,
            agent_type=agent_type,
            model=model,
            started_at=now,
            compute_before=cost.compute(sandbox, now),
            trust_updated_at=now,
            chosen_id=chosen_id if chosen_id is not None and len(chosen_id) <= _LONGEST_ID else None,
        )
        store.sessions[session.id] = session
        sandbox.agent_session = session
        self._forget_oldest(sandbox.account_id)
        return session

    def spend(self, sandbox: Sandbox, session: AgentSession, tokens_in: int, tokens_out: int, llm_cost: float) -> None:
        """Count what a model took, in tokens and USD, also against the sandbox's budget. Less than 0 counts as 0."""
        cost.spend(sandbox, session, tokens_in, tokens_out, llm_cost)

    def end(self, sandbox: Sandbox, session: AgentSession, completed: bool) -> None:
        """End a session. One that has ended is left alone."""
        if session.ended_at is not None:
            return
        now = self._clock.time()
        session.compute_cost = cost.compute(sandbox, now) - session.compute_before
        session.ended_at = now
        session.status = "completed" if completed else "failed"
        self._signals.send("session_ended", sandbox=sandbox, session=session)

    def fail_active(self, sandbox: Sandbox) -> None:
        """Fail the sandbox's active session: the sandbox is gone, or its processes are."""
        if sandbox.agent_session is not None:
            self.end(sandbox, sandbox.agent_session, completed=False)

    def _forget_oldest(self, account_id: str) -> None:
        sessions = self._store.sessions
        if len(sessions) <= MOST:
            return
        mine = [session for session in sessions.values() if session.account_id == account_id]
        over = [session for session in mine if session.ended_at is not None]
        for session in over[: max(0, len(mine) - MOST)]:
            del sessions[session.id]

    def delete_all(self, account: AccountRecord) -> None:
        """Delete the account's sessions."""
        for session in self.of(account):
            del self._store.sessions[session.id]
