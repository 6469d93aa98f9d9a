"""Alerts and the rules that raise them."""

from dataclasses import dataclass, field
from typing import Optional

from .._literals import AlertSeverity, AlertState
from .._naming import public
from ._base import Model


@public
@dataclass(frozen=True)
class Alert(Model):
    """What the platform reports when an alert rule's condition holds.

    Attributes:
        rule_type: E.g. ``budget_exceeded``.
        severity: One of info, warning, critical.
        state: One of open, resolved, muted.
        sandbox_id, session_id: What it is about; empty when it is about neither.
        created_at, resolved_at: RFC 3339; the second is None until it is resolved.
    """

    id: str = ""
    account_id: str = ""
    rule_id: str = ""
    rule_type: str = ""
    severity: AlertSeverity = "info"
    state: AlertState = "open"
    title: str = ""
    message: str = ""
    sandbox_id: str = ""
    session_id: str = ""
    meta: dict[str, str] = field(default_factory=dict, hash=False)
    created_at: str = ""
    resolved_at: Optional[str] = None

    @property
    def resolved(self) -> bool:
        """Whether it was resolved."""
        return self.state == "resolved"


@public
@dataclass(frozen=True)
class AlertPage(Model):
    """Some of the account's alerts, newest first; `total` counts all."""

    alerts: list[Alert] = field(default_factory=list, hash=False)
    total: int = 0
    limit: int = 0
    offset: int = 0


@public
@dataclass(frozen=True)
class RuleConfig(Model):
    """When a rule raises an alert. 0 means the platform's default, and is not sent.

    Attributes:
        threshold_percent: Of the budget (``budget_exceeded``).
        multiplier_threshold: Times the usual cost (``cost_anomaly``).
        idle_minutes: Without progress (``agent_stuck``).
        error_count_threshold, window_minutes: So many errors in so much time (``error_spike``).
        score_threshold: 0-100 (``trust_score_low``).
    """

    threshold_percent: float = 0.0
    multiplier_threshold: float = 0.0
    idle_minutes: int = 0
    error_count_threshold: int = 0
    window_minutes: int = 0
    score_threshold: int = 0


@public
@dataclass(frozen=True)
class AlertRule(Model):
    """A rule; `type` is the kind of condition, and determines which fields of `config` it uses."""

    id: str = ""
    account_id: str = ""
    type: str = ""
    enabled: bool = False
    config: RuleConfig = field(default_factory=RuleConfig)
    created_at: str = ""
