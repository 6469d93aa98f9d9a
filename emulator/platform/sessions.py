"""Agent sessions: what one interaction with an agent took. wire-contract.md 3.6."""

from __future__ import annotations

from typing import Optional

from ..control.clock import Clock
from ..control.randomness import Randomness
from ..store import Account, Sandbox, Session, Store
from . import cost
from .errors import not_found
from .signals import Signals

#: Sessions of an account that are kept; the oldest that are over go first.
MOST = 10_000


class Sessions:
    def __init__(self, store: Store, clock: Clock, randomness: Randomness, signals: Signals) -> None:
        self._store = store
        self._clock = clock
        self._randomness = randomness
        self._signals = signals

    # --- looking

    def get(self, account: Account, session_id: str) -> Session:
        """Whether its sandbox still exists or not. 404 for another account's."""
        session = self._store.sessions.get(session_id)
        if session is None or session.account_id != account.id:
            raise not_found("session", session_id)
        return session

    def of(self, account: Account) -> list[Session]:
        """Newest first."""
        sessions = reversed(list(self._store.sessions.values()))
        return [session for session in sessions if session.account_id == account.id]

    def of_sandbox(self, sandbox: Sandbox) -> list[Session]:
        """Newest first."""
        sessions = reversed(list(self._store.sessions.values()))
        return [session for session in sessions if session.sandbox_id == sandbox.id]

    def compute_cost(self, session: Session) -> float:
        """USD of its sandbox's machine time while it was active, up to now."""
        sandbox = self._store.sandboxes.get(session.sandbox_id)
        if session.ended_at is not None or sandbox is None:
            return session.compute_cost
        return cost.compute(sandbox, self._clock.time()) - session.compute_before

    # --- beginning and ending

    def begin(self, sandbox: Sandbox, agent_type: str, model: Optional[str]) -> Session:
        """The sandbox's one active session; whoever begins it holds `sandbox.agent`."""
        store, now = self._store, self._clock.time()
        session = Session(
            id=self._randomness.identifier("sess", store.sessions),
            account_id=sandbox.account_id,
            sandbox_id=sandbox.id,
            agent_type=agent_type,
            model=model,
            started_at=now,
            compute_before=cost.compute(sandbox, now),
            trust_updated_at=now,
        )
        store.sessions[session.id] = session
        sandbox.session = session
        self._forget_oldest(sandbox.account_id)
        return session

    def spend(self, sandbox: Sandbox, session: Session, tokens_in: int, tokens_out: int, llm_cost: float) -> None:
        """What a model took. It counts against the sandbox's budget. Nothing is taken back: less than 0 is 0."""
        cost.spend(sandbox, session, tokens_in, tokens_out, llm_cost)

    def end(self, sandbox: Sandbox, session: Session, completed: bool) -> None:
        """Harmless when it is over already."""
        if session.ended_at is not None:
            return
        now = self._clock.time()
        session.compute_cost = cost.compute(sandbox, now) - session.compute_before
        session.ended_at = now
        session.status = "completed" if completed else "failed"
        self._signals.send("session_ended", sandbox=sandbox, session=session)

    def cut_off(self, sandbox: Sandbox) -> None:
        """The sandbox is gone, or its processes are: a session that is active has failed."""
        if sandbox.session is not None:
            self.end(sandbox, sandbox.session, completed=False)

    def _forget_oldest(self, account_id: str) -> None:
        sessions = self._store.sessions
        if len(sessions) <= MOST:
            return
        mine = [session for session in sessions.values() if session.account_id == account_id]
        over = [session for session in mine if session.ended_at is not None]
        for session in over[: max(0, len(mine) - MOST)]:
            del sessions[session.id]

    def delete_all(self, account: Account) -> None:
        for session in self.of(account):
            del self._store.sessions[session.id]
