"""Trust scores of agent sessions: 100 at first, and less by the events in the session.

What an event costs is in trust_rules.py. A low score triggers alerts (alert_triggers.py) by the signal
`trust_changed`.
"""

from __future__ import annotations

from typing import Optional

from ..control.clock import Clock
from ..history import Event
from ..store import AgentSession, Sandbox, Store
from .recorder import SandboxRecorder
from .signals import Signals

#: Charges of a session that are remembered, so that they are made once.
CHARGED_MOST = 10_000

#: Deletions within so many seconds count as "at once".
AT_ONCE = 10.0


class Trust:
    def __init__(self, store: Store, clock: Clock, signals: Signals, recorder: SandboxRecorder) -> None:
        self._store = store
        self._clock = clock
        self._signals = signals
        self._recorder = recorder
        self._signals.connect("event", self._event)

    def _event(self, sandbox: Optional[Sandbox], event: Event) -> None:
        session = self._store.sessions.get(event.session_id)
        if session is None or session.account_id != event.account_id:  # clients may choose any session id
            return
        from .trust_rules import EventFacts, broken_rules  # loaded with the first event of an agent session

        facts = EventFacts(event, _known_hosts(sandbox))
        if facts.operation == "delete":
            facts.deletions = self._deletions(session)
        points = 0
        for rule, what in broken_rules(facts):
            if rule.once:
                if (rule.name, what) in session.charged:
                    continue
                if len(session.charged) < CHARGED_MOST:
                    session.charged.add((rule.name, what))
            points += rule.points
            if sandbox is not None:
                message = f"trust of {session.id}: -{rule.points} for {rule.looks_at} ({what})"
                self._recorder.log(sandbox, message, "trust")
        if points:
            self._lower(sandbox, session, points)

    def _deletions(self, session: AgentSession) -> int:
        """Return how many deletions there were at once, this one included. After too many, counting starts again."""
        from .trust_rules import MANY_FILES

        now = self._clock.time()
        session.deletions = [at for at in session.deletions if now - at <= AT_ONCE] + [now]
        count = len(session.deletions)
        if count > MANY_FILES:
            session.deletions.clear()
        return count

    def _lower(self, sandbox: Optional[Sandbox], session: AgentSession, points: int) -> None:
        before = session.trust_score
        session.trust_score = max(0, before - points)
        session.trust_updated_at = self._clock.time()
        if sandbox is not None and session.trust_score != before:
            score = session.trust_score
            self._signals.send("trust_changed", sandbox=sandbox, session=session, before=before, score=score)


def _known_hosts(sandbox: Optional[Sandbox]) -> list[str]:
    """Return the hosts that the create of the sandbox names."""
    if sandbox is None:
        return []
    named = [entry.rpartition(":")[0] or entry for entry in sandbox.allowlist]
    if sandbox.repo is not None:
        named.append(sandbox.repo.split_credentials()[0].partition("://")[2].partition("/")[0].partition(":")[0])
    return [name.lower().lstrip("*.") for name in named if name]
