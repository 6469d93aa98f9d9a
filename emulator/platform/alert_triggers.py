"""The triggers of alerts: signals, and regular checks for what no signal reports.

Each cause triggers one alert: a percentage of the budget once per sandbox, a trust score once per agent session, a cost
anomaly once per session. Silence and an error spike can trigger again after they have ended. A rule applies with the
numbers that it has at that moment; a rule that is enabled later still reports a budget or silence.
"""

from __future__ import annotations

import math
from typing import Optional

from ..control.clock import Clock, rfc3339
from ..control.current_account import acting_for
from ..history import Event
from ..store import AccountRecord, AgentSession, Sandbox, Store
from . import cost
from .alert_history import AlertHistory
from .alerts import Alerts
from .background import BackgroundTasks
from .errors import ApiError
from .rules import Rules, config_of
from .sandbox_lifecycle import SandboxLifecycle
from .signals import Signals

#: Types of alerts that no rule of the account is about.
WITHOUT_RULE = ("sandbox_error", "idle_timeout")
#: Percentages of a budget and trust scores that are critical whatever the rule says (platform-behaviour.md B 10, 12).
BUDGET_CRITICAL, BUDGET_EXCEEDED = 95, 100
TRUST_CRITICAL = 50
#: Below this score the sandbox is paused.
TRUST_PAUSE = 30
#: Sessions that are needed before an average counts.
SESSIONS_LEAST = 3
#: USD below which a session's cost is not an anomaly: sessions of an emulated agent cost millionths.
ANOMALY_LEAST = 0.01
#: The largest percentage of a budget that is reported; that of the smallest budgets is not finite.
MOST_PERCENT = 1_000_000


class AlertTriggers:
    """`check` is called regularly; the rest is called by signals."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        signals: Signals,
        background: BackgroundTasks,
        lifecycle: SandboxLifecycle,
        rules: Rules,
        alerts: Alerts,
        history: AlertHistory,
    ) -> None:
        self._store = store
        self._clock = clock
        self._signals = signals
        self._background = background
        self._lifecycle = lifecycle
        self._rules = rules
        self._alerts = alerts
        self._history = history
        signals.connect("budget_mark", self._budget_mark)
        signals.connect("trust_changed", self._trust_changed)
        signals.connect("sandbox_error", self._sandbox_error)
        signals.connect("idle_timeout", self._idle_timeout)
        signals.connect("session_ended", self._session_ended)
        signals.connect("event", self._event)
        signals.connect("clock_set", history.shift)

    def check(self) -> None:
        """Check the budgets and sessions of all sandboxes."""
        store = self._store
        for sandbox in list(store.sandboxes.values()):
            account = store.accounts.get(sandbox.account_id)
            if account is None or sandbox.status not in ("running", "paused"):
                continue
            with acting_for(account.id):
                self._check_budget(account, sandbox)
                if sandbox.status == "running":
                    self._check_session(account, sandbox)
        self._history.remove_stale()

    def due(self, sandbox: Sandbox, now: float) -> list[float]:
        """Return the seconds until `check` has something to report of a sandbox, if nothing else happens."""
        account = self._store.accounts.get(sandbox.account_id)
        if account is None:
            return []
        waits = []
        own = self._config(account, "budget_exceeded")["threshold_percent"]
        for mark in (own, BUDGET_CRITICAL, BUDGET_EXCEEDED):
            if self._history.is_new(sandbox.id, f"budget {mark:g}"):
                waits.append(cost.until_share(sandbox, now, mark))
        session = sandbox.agent_session
        if session is not None and session.status == "active":
            last = self._history.last_activity(session)
            if self._history.is_new(sandbox.id, _silence(session)):
                waits.append(last + 60 * self._config(account, "agent_stuck")["idle_minutes"] - now + 0.001)
        # What is late was checked and not reported, because its rule is disabled.
        return [wait for wait in waits if wait > 0.001]

    def _config(self, account: AccountRecord, rule_type: str) -> dict[str, float]:
        return config_of(self._rules.of_type(account, rule_type))

    # --- budgets

    def _budget_mark(self, sandbox: Sandbox, percent: int, spent: float) -> None:
        account = self._store.accounts.get(sandbox.account_id)
        if account is not None:
            self._check_budget(account, sandbox)

    def _check_budget(self, account: AccountRecord, sandbox: Sandbox) -> None:
        """Report the rule's percentage of the budget, 95 and 100 percent."""
        if not sandbox.budget:
            return
        spent = cost.total(sandbox, self._clock.time())
        share = 100 * spent / sandbox.budget
        own = self._config(account, "budget_exceeded")["threshold_percent"]
        for mark in sorted({own, BUDGET_CRITICAL, BUDGET_EXCEEDED}):
            cause = f"budget {mark:g}"
            if share < mark or not self._history.is_new(sandbox.id, cause):
                continue
            percent = str(math.floor(min(share, MOST_PERCENT)))
            fired = self._alerts.fire(
                account.id,
                "budget_exceeded",
                "warning" if mark < BUDGET_CRITICAL else "critical",
                "Budget Threshold Exceeded",
                f"Sandbox {sandbox.id} has used {percent}% of its budget: ${spent:.4f} of ${sandbox.budget:.4f}.",
                sandbox_id=sandbox.id,
                session_id=_active_session(sandbox),
                meta={
                    "percent": percent,
                    "threshold_percent": f"{mark:g}",
                    "budget_usd": f"{sandbox.budget:.4f}",
                    "spent_usd": f"{spent:.4f}",
                },
            )
            if fired:
                self._history.add_cause(sandbox.id, cause)

    # --- trust

    def _trust_changed(self, sandbox: Sandbox, session: AgentSession, before: int, score: int) -> None:
        account = self._store.accounts.get(sandbox.account_id)
        if account is None:
            return
        low = self._config(account, "trust_score_low")["score_threshold"]
        for mark in sorted({low, min(low, TRUST_CRITICAL)}, reverse=True):
            cause = f"trust {session.id} {mark:g}"
            if score >= mark or not self._history.is_new(sandbox.id, cause):
                continue
            critical = mark <= TRUST_CRITICAL
            fired = self._alerts.fire(
                account.id,
                "trust_score_low",
                "critical" if critical else "warning",
                "Trust Score Critical" if critical else "Trust Score Low",
                f"The trust score of session {session.id} in sandbox {sandbox.id} fell to {score}, below {mark:g}.",
                sandbox_id=sandbox.id,
                session_id=session.id,
                meta={"score": str(score), "score_threshold": f"{mark:g}"},
            )
            if fired:
                self._history.add_cause(sandbox.id, cause)
        if score < TRUST_PAUSE <= before:
            self._background.start(self._pause(sandbox, score))

    async def _pause(self, sandbox: Sandbox, score: int) -> None:
        try:
            await self._lifecycle.pause(sandbox, f"paused: trust score {score} is below {TRUST_PAUSE}", "trust")
        except ApiError:
            pass  # it is not running any more

    # --- alerts without a rule

    def _sandbox_error(self, sandbox: Sandbox, reason: str) -> None:
        self._alerts.fire(
            sandbox.account_id,
            "sandbox_error",
            "critical",
            "Sandbox Error",
            f"Sandbox {sandbox.id} is in error: {reason}",
            sandbox_id=sandbox.id,
        )

    def _idle_timeout(self, sandbox: Sandbox) -> None:
        self._alerts.fire(
            sandbox.account_id,
            "idle_timeout",
            "info",
            "Idle Timeout",
            f"Sandbox {sandbox.id} was paused after {sandbox.timeout} s without activity; resume it to go on.",
            sandbox_id=sandbox.id,
            meta={"timeout_seconds": str(sandbox.timeout)},
        )

    # --- agent sessions

    def _check_session(self, account: AccountRecord, sandbox: Sandbox) -> None:
        """Report an active session without an event for some time: it is stuck."""
        session = sandbox.agent_session
        if session is None or session.status != "active":
            return
        minutes = self._config(account, "agent_stuck")["idle_minutes"]
        last = self._history.last_activity(session)
        idle = self._clock.time() - last
        cause = _silence(session)
        if idle < 60 * minutes or not self._history.is_new(sandbox.id, cause):
            return
        fired = self._alerts.fire(
            account.id,
            "agent_stuck",
            "warning",
            "Agent Stuck",
            f"Nothing has happened in session {session.id} of sandbox {sandbox.id} for {idle / 60:.0f} minutes.",
            sandbox_id=sandbox.id,
            session_id=session.id,
            meta={"idle_minutes": f"{minutes:g}", "last_event_at": rfc3339(last)},
        )
        if fired:
            self._history.add_cause(sandbox.id, cause)

    def _session_ended(self, sandbox: Sandbox, session: AgentSession) -> None:
        """Report a session that cost many times the average of the account's earlier ones."""
        self._history.end_session(session)
        account = self._store.accounts.get(session.account_id)
        if account is None:
            return
        earlier = self._history.costs(account.id)
        average = sum(earlier) / len(earlier) if earlier else 0.0
        spent = session.llm_cost + session.compute_cost
        times = self._config(account, "cost_anomaly")["multiplier_threshold"]
        if len(earlier) >= SESSIONS_LEAST and average > 0 and spent > max(times * average, ANOMALY_LEAST):
            self._alerts.fire(
                account.id,
                "cost_anomaly",
                "warning",
                "Cost Anomaly",
                f"Session {session.id} in sandbox {sandbox.id} cost ${spent:.4f}, {spent / average:.1f} times the"
                f" average of ${average:.4f}.",
                sandbox_id=sandbox.id,
                session_id=session.id,
                meta={"cost_usd": f"{spent:.4f}", "average_usd": f"{average:.4f}"},
            )
        earlier.append(spent)

    # --- errors

    def _event(self, sandbox: Optional[Sandbox], event: Event) -> None:
        """Report many error events of one sandbox, or of none, in the window up to now; again only after a window
        without any."""
        session = self._store.sessions.get(event.session_id)
        if session is not None and session.status == "active":
            self._history.note_activity(session)
        account = self._store.accounts.get(event.account_id)
        if event.type != "error" or account is None:
            return
        config = self._config(account, "error_spike")
        most, minutes = int(config["error_count_threshold"]), config["window_minutes"]
        place = event.sandbox_id or account.id
        now = self._clock.time()
        times = self._history.errors(place)
        while times and times[0] <= now - 60 * minutes:
            times.popleft()
        if not times:
            self._history.remove_cause(place, "errors")
        times.append(now)
        where = f" in sandbox {event.sandbox_id}" if event.sandbox_id else ""
        if (
            len(times) >= most
            and self._history.is_new(place, "errors")
            and self._alerts.fire(
                account.id,
                "error_spike",
                "warning",
                "Error Spike",
                f"{len(times)} errors in {minutes:g} minutes{where}.",
                sandbox_id=event.sandbox_id,
                session_id=event.session_id,
                meta={"errors": str(len(times)), "window_minutes": f"{minutes:g}"},
            )
        ):
            self._history.add_cause(place, "errors")


def _silence(session: AgentSession) -> str:
    """Return the cause of an alert about the time since a session's newest event."""
    return f"stuck {session.id} {session.history.count}"


def _active_session(sandbox: Sandbox) -> str:
    """Return the id of the sandbox's agent session while it is active; empty otherwise."""
    session = sandbox.agent_session
    return session.id if session is not None and session.status == "active" else ""
