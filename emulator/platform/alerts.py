"""Alerts. They outlive their sandbox and are deleted with their account (docs/contract/wire-contract.md 3.8)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Optional

from ..control.clock import Clock
from ..control.journal import cut
from ..control.randomness import Randomness
from ..control.steps import Steps
from ..store import AccountRecord, Alert, Store
from .errors import not_found
from .notifications import Notifications
from .rules import DEFAULTS, Rules

PAGE = 50
PAGE_MOST = 100
#: Alerts of one emulator that are kept; the oldest go first.
MOST = 20_000
MESSAGE_CHARACTERS = 1000


def page_size(limit: Optional[int]) -> int:
    """Return the page size for a `limit` of the query: 1 to 100; anything else means 50."""
    return limit if limit is not None and 1 <= limit <= PAGE_MOST else PAGE


class Alerts:
    def __init__(
        self,
        store: Store,
        clock: Clock,
        randomness: Randomness,
        rules: Rules,
        notifications: Notifications,
        steps: Steps,
    ) -> None:
        self._store = store
        self._clock = clock
        self._randomness = randomness
        self._rules = rules
        self._notifications = notifications
        self._steps = steps

    def fire(
        self,
        account_id: str,
        rule_type: str,
        severity: str,
        title: str,
        message: str,
        *,
        sandbox_id: str = "",
        session_id: str = "",
        meta: Optional[Mapping[str, str]] = None,
    ) -> bool:
        """Open an alert and create its notifications. False when the account is gone or has disabled the rule."""
        store = self._store
        account = store.accounts.get(account_id)
        if account is None:
            return False
        rule = self._rules.of_type(account, rule_type) if rule_type in DEFAULTS else None
        if rule is not None and not rule.enabled:
            return False
        alert = Alert(
            id=self._randomness.identifier("alert", store.alerts),
            account_id=account.id,
            rule_id=rule.id if rule is not None else "",
            rule_type=rule_type,
            severity=severity,
            title=title,
            message=cut(message, MESSAGE_CHARACTERS),
            sandbox_id=sandbox_id,
            session_id=session_id,
            meta=dict(meta or {}),
            created_at=self._clock.timestamp(),
        )
        store.alerts[alert.id] = alert
        if len(store.alerts) > MOST:
            del store.alerts[next(iter(store.alerts))]
        self._notifications.create_for(account, alert)
        self._steps.add(
            "alert",
            f"{severity}: {title}: {_summary(alert)}",
            outcome="error" if severity == "critical" else "ok",
            account=account.id,
            sandbox=sandbox_id,
            rule=rule_type,
            severity=severity,
            message=alert.message,
            alert=alert.id,
            session=session_id,
            meta=alert.meta,
        )
        return True

    def of(self, account: AccountRecord) -> list[Alert]:
        """The account's alerts, newest first."""
        alerts = [alert for alert in self._store.alerts.values() if alert.account_id == account.id]
        return alerts[::-1]

    def get(self, account: AccountRecord, alert_id: str) -> Alert:
        alert = self._store.alerts.get(alert_id)
        if alert is None or alert.account_id != account.id:
            raise not_found("alert", alert_id)
        return alert

    def resolve(self, alert: Alert) -> None:
        """Resolve an alert. Repeating it changes nothing."""
        if alert.state != "resolved":
            alert.state = "resolved"
            alert.resolved_at = self._clock.timestamp()
            self._store.alerts[alert.id] = alert  # the change tracker sees what is put

    def delete_all(self, account: AccountRecord) -> None:
        for alert in self.of(account):
            del self._store.alerts[alert.id]


def _summary(alert: Alert) -> str:
    """The text of an alert for the title of its step. That of a budget begins with ids; the amounts say more."""
    spent, budget, mark = (alert.meta.get(name) for name in ("spent_usd", "budget_usd", "threshold_percent"))
    if not spent or not budget:
        return alert.message
    return f"${float(spent):.2f} of ${float(budget):.2f}" + (f" (alert at {mark}%)" if mark else "")
