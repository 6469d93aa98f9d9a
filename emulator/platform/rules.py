"""Alert rules: their types and settings are those of docs/contract/wire-contract.md 3.8.

No source says which rules an account has: here it is one of each type. Of the defaults only the 80 % of a budget and
the trust score of 70 have a source.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Optional

from ..control.randomness import Randomness
from ..store import AccountRecord, AlertRule
from .errors import invalid, not_found

#: Type of rule -> its settings with their defaults. `threshold_percent` is of a budget, `multiplier_threshold` times
#: the average cost of the account's earlier agent sessions, `score_threshold` a trust score of 0 to 100.
DEFAULTS: dict[str, dict[str, float]] = {
    "budget_exceeded": {"threshold_percent": 80},
    "cost_anomaly": {"multiplier_threshold": 3},
    "agent_stuck": {"idle_minutes": 10},
    "error_spike": {"error_count_threshold": 10, "window_minutes": 5},
    "trust_score_low": {"score_threshold": 70},
}
#: The largest value of a setting: more than a year of minutes.
MOST = 1_000_000
SCORE_MOST = 100


class Rules:
    def __init__(self, randomness: Randomness) -> None:
        self._randomness = randomness

    def of(self, account: AccountRecord) -> list[AlertRule]:
        """The account's rules, one per type in the order of DEFAULTS, created with the first call."""
        if not account.rules:
            for kind in DEFAULTS:
                identifier = self._randomness.identifier("rule", account.rules)
                account.rules[identifier] = AlertRule(identifier, account.id, kind, account.created_at)
        return list(account.rules.values())

    def of_type(self, account: AccountRecord, kind: str) -> AlertRule:
        """The account's rule of a type in DEFAULTS."""
        return next(rule for rule in self.of(account) if rule.type == kind)

    def update(
        self, account: AccountRecord, rule_id: str, enabled: Optional[bool], config: Mapping[str, float]
    ) -> AlertRule:
        """Change the given settings. 0 restores a default. 404 for an unknown rule, 400 for a wrong value."""
        self.of(account)
        rule = account.rules.get(rule_id)
        if rule is None:
            raise not_found("alert rule", rule_id)
        for name, value in config.items():
            most = SCORE_MOST if name == "score_threshold" else MOST
            if not 0 <= value <= most:
                raise invalid(f"config.{name}: must be between 0 and {most}; 0 means the default")
        rule.config.update(config)
        if enabled is not None:
            rule.enabled = enabled
        return rule


def config_of(rule: AlertRule) -> dict[str, float]:
    """Return the rule's settings: its own over the defaults, unknown ones included."""
    return {**DEFAULTS[rule.type], **{name: value for name, value in rule.config.items() if value}}
