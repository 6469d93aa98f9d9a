"""Alerts and their rules."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Optional

from .. import _arguments as arguments
from .._call import Call, ExpectedContent, ignore
from .._errors import CagedError
from .._http import AsyncSession, Session
from .._models.alerts import Alert, AlertPage, AlertRule, RuleConfig
from .._tracebacks import short_tracebacks

# The method named `list` hides the builtin inside the classes.
RuleList = list[AlertRule]


def list_(limit: Optional[int], offset: Optional[int]) -> Call[AlertPage]:
    query = {
        "limit": arguments.optional_integer("limit", limit),
        "offset": arguments.optional_integer("offset", offset),
    }
    return Call("GET", "/alerts", ExpectedContent.OBJECT, AlertPage.from_api, query=query, repeatable=True)


def get(alert_id: str) -> Call[Alert]:
    path = f"/alerts/{arguments.segment('alert_id', alert_id)}"
    return Call("GET", path, ExpectedContent.OBJECT, Alert.from_api, repeatable=True)


def resolve(alert_id: str) -> Call[None]:
    path = f"/alerts/{arguments.segment('alert_id', alert_id)}/resolve"
    return Call("POST", path, ExpectedContent.NOTHING, ignore)


def list_rules() -> Call[RuleList]:
    return Call("GET", "/alerts/rules", ExpectedContent.ARRAY, AlertRule.list_from_api, repeatable=True)


def update_rule(rule_id: str, enabled: Optional[bool], config: Optional[RuleConfig]) -> Call[AlertRule]:
    path = f"/alerts/rules/{arguments.segment('rule_id', rule_id)}"
    body: dict[str, Any] = {}
    if enabled is not None:
        body["enabled"] = arguments.boolean("enabled", enabled)
    if config is not None:
        if not isinstance(config, RuleConfig):
            raise CagedError(f"config must be a RuleConfig, not {type(config).__name__}")
        values = {name: arguments.number(f"config.{name}", value) for name, value in asdict(config).items()}
        body["config"] = {name: value for name, value in values.items() if value}
    if not body:
        raise CagedError("there is nothing to change; pass enabled or config")
    return Call("PUT", path, ExpectedContent.OBJECT, AlertRule.from_api, body=body, repeatable=True)


@short_tracebacks
class Alerts:
    """``caged.alerts``"""

    def __init__(self, session: Session) -> None:
        self._session = session

    def list(self, limit: Optional[int] = None, offset: Optional[int] = None) -> AlertPage:
        """Some of the account's alerts, newest first: at most `limit` (1-100, default 50), after `offset`."""
        return self._session.send(list_(limit, offset))

    def get(self, alert_id: str) -> Alert:
        """One alert as it is now."""
        return self._session.send(get(alert_id))

    def resolve(self, alert_id: str) -> None:
        """Mark an alert as dealt with."""
        self._session.send(resolve(alert_id))

    def list_rules(self) -> RuleList:
        """All alert rules of the account."""
        return self._session.send(list_rules())

    def update_rule(
        self, rule_id: str, enabled: Optional[bool] = None, config: Optional[RuleConfig] = None
    ) -> AlertRule:
        """Turn a rule on or off, or change when it raises an alert.

        Raises:
            CagedError: Neither `enabled` nor `config` is given; nothing is sent.
        """
        return self._session.send(update_rule(rule_id, enabled, config))


@short_tracebacks
class AsyncAlerts:
    """``caged.alerts`` of `AsyncCaged`; every method is described in `Alerts`."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def list(self, limit: Optional[int] = None, offset: Optional[int] = None) -> AlertPage:
        """See `Alerts.list`."""
        return await self._session.send(list_(limit, offset))

    async def get(self, alert_id: str) -> Alert:
        """See `Alerts.get`."""
        return await self._session.send(get(alert_id))

    async def resolve(self, alert_id: str) -> None:
        """See `Alerts.resolve`."""
        await self._session.send(resolve(alert_id))

    async def list_rules(self) -> RuleList:
        """See `Alerts.list_rules`."""
        return await self._session.send(list_rules())

    async def update_rule(
        self, rule_id: str, enabled: Optional[bool] = None, config: Optional[RuleConfig] = None
    ) -> AlertRule:
        """See `Alerts.update_rule`."""
        return await self._session.send(update_rule(rule_id, enabled, config))
