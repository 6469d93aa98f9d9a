"""Alerts and their rules (wire-contract.md 3.8)."""

from __future__ import annotations

from typing import Any, Optional

from pydantic import Field
from starlette.responses import Response

from ..platform.alerts import page_size
from ..platform.rules import DEFAULTS, MOST, SCORE_MOST, config_of
from ..store import Alert, AlertRule
from .operation import Body, Call, EmptyBody, Model, Operations, json_reply, no_content

operations = Operations()


class AlertOut(Model):
    """An alert. `resolved_at` is absent while the alert is open."""

    id: str
    account_id: str
    rule_id: str
    rule_type: str
    severity: str
    state: str
    title: str
    message: str
    sandbox_id: str
    session_id: str
    meta: dict[str, str]
    created_at: str
    resolved_at: Optional[str]

    def model_dump_json(self, **_options: Any) -> str:
        return super().model_dump_json(exclude_none=True)


class AlertPage(Model):
    alerts: list[AlertOut]
    total: int
    limit: int
    offset: int

    def model_dump_json(self, **_options: Any) -> str:
        return super().model_dump_json(exclude_none=True)


class RuleConfig(Model):
    """The thresholds of a rule: percent of a budget; a multiple of the average session's cost; minutes of idleness; a
    number of errors within a number of minutes; a trust score. Those of other types of rules are absent."""

    threshold_percent: Optional[float] = None
    multiplier_threshold: Optional[float] = None
    idle_minutes: Optional[int] = None
    error_count_threshold: Optional[int] = None
    window_minutes: Optional[int] = None
    score_threshold: Optional[int] = None


def _number(most: int = MOST) -> Any:
    return Field(None, json_schema_extra={"minimum": 0, "maximum": most})


class RuleConfigIn(Body):
    """New thresholds of a rule; 0 means the default."""

    threshold_percent: Optional[float] = _number()
    multiplier_threshold: Optional[float] = _number()
    idle_minutes: Optional[int] = _number()
    error_count_threshold: Optional[int] = _number()
    window_minutes: Optional[int] = _number()
    score_threshold: Optional[int] = _number(SCORE_MOST)


class UpdateRule(Body):
    enabled: Optional[bool] = None
    config: Optional[RuleConfigIn] = None


class RuleOut(Model):
    id: str
    account_id: str
    type: str
    enabled: bool
    config: RuleConfig
    created_at: str

    def model_dump_json(self, **_options: Any) -> str:
        return super().model_dump_json(exclude_none=True)


def serialize(alert: Alert) -> AlertOut:
    """The alert as clients read it."""
    return AlertOut(
        id=alert.id,
        account_id=alert.account_id,
        rule_id=alert.rule_id,
        rule_type=alert.rule_type,
        severity=alert.severity,
        state=alert.state,
        title=alert.title,
        message=alert.message,
        sandbox_id=alert.sandbox_id,
        session_id=alert.session_id,
        meta=alert.meta,
        created_at=alert.created_at,
        resolved_at=alert.resolved_at,
    )


def serialize_rule(rule: AlertRule) -> RuleOut:
    """The rule as clients read it."""
    return RuleOut(
        id=rule.id,
        account_id=rule.account_id,
        type=rule.type,
        enabled=rule.enabled,
        config=RuleConfig.model_validate(config_of(rule)),
        created_at=rule.created_at,
    )


# The rules precede /v1/alerts/{id}, which would take `rules` for an id.
@operations.add("GET", "/v1/alerts/rules", "alerts.list_rules", reply=list[RuleOut])
async def list_rules(call: Call[EmptyBody]) -> Response:
    return json_reply([serialize_rule(rule) for rule in call.platform.rules.of(call.account)])


@operations.add("PUT", "/v1/alerts/rules/{id}", "alerts.update_rule", UpdateRule, reply=RuleOut)
async def update_rule(call: Call[UpdateRule]) -> Response:
    """Change `enabled` and the thresholds in `config`, as far as they are given."""
    config = call.body.config
    numbers: dict[str, float] = {}
    if config is not None:
        call.warnings += [f"unknown key config.{name} is ignored" for name in config.model_extra or ()]
        given = config.model_dump(include=set(RuleConfig.model_fields))
        numbers = {name: value for name, value in given.items() if value is not None}
    rule = call.platform.rules.update(call.account, call.param("id"), call.body.enabled, numbers)
    thresholds = DEFAULTS[rule.type]
    call.warnings += [
        f"config.{name} has no effect on a rule of type {rule.type}; it goes by {' and '.join(thresholds)}"
        for name in numbers
        if name not in thresholds
    ]
    return json_reply(serialize_rule(rule))


@operations.add("GET", "/v1/alerts", "alerts.list", reply=AlertPage, query={"limit": int, "offset": int})
async def list_all(call: Call[EmptyBody]) -> Response:
    """Newest first. A limit that is not 1 to 100 is 50."""
    limit, offset = page_size(call.query_int("limit")), max(0, call.query_int("offset") or 0)
    alerts = call.platform.alerts.of(call.account)
    page = [serialize(alert) for alert in alerts[offset : offset + limit]]
    return json_reply(AlertPage(alerts=page, total=len(alerts), limit=limit, offset=offset))


@operations.add("GET", "/v1/alerts/{id}", "alerts.get", reply=AlertOut)
async def get(call: Call[EmptyBody]) -> Response:
    return json_reply(serialize(call.platform.alerts.get(call.account, call.param("id"))))


@operations.add("POST", "/v1/alerts/{id}/resolve", "alerts.resolve")
async def resolve(call: Call[EmptyBody]) -> Response:
    call.platform.alerts.resolve(call.platform.alerts.get(call.account, call.param("id")))
    return no_content()
