"""Alerts and alert rules. No alert is raised; the checks of alerts need an account that has some."""

from __future__ import annotations

from typing import Any

from ..assertions import assert_contains, assert_equal, assert_matches, assert_true, read_array, read_object
from ..check import Group
from ..context import Context
from ..errors import SkipCheck
from ..raw_client import path_segment
from ..shapes import ALERT, ALERTS, RULE

group = Group("alerts")

_TYPES = ("budget_exceeded", "cost_anomaly", "agent_stuck", "error_spike", "trust_score_low")


def _rule_path(rule: dict[str, Any]) -> str:
    return f"/alerts/rules/{path_segment(rule['id'])}"


def _page(context: Context, **query: Any) -> dict[str, Any]:
    return read_object(context.get("/alerts", params=query), ALERTS)


def _rule(context: Context) -> dict[str, Any]:
    """Return a rule of the account, or skip the check. Checks restore what they change."""
    found = context.require_json(context.get("/alerts/rules"), "the list of rules")
    if not isinstance(found, list) or not found or not isinstance(found[0], dict):
        raise SkipCheck("the account has no alert rules")
    wanted = (rule for rule in found if rule.get("type") == "budget_exceeded")
    return dict(next(wanted, found[0]))


@group.contract("list", "The list is a page with alerts, total, limit and offset.", "wire-contract 3.8")
def list_alerts(context: Context) -> None:
    _page(context)


@group.contract("list-default", "The default limit is 50, and the default offset is 0.", "wire-contract 3.8")
def list_default(context: Context) -> None:
    found = _page(context)
    assert_equal("limit, offset", [found["limit"], found["offset"]], [50, 0])


@group.contract("list-limit", "A page has the requested limit and offset.", "wire-contract 3.8")
def list_limit(context: Context) -> None:
    found = _page(context, limit=3, offset=1)
    assert_equal("limit, offset", [found["limit"], found["offset"]], [3, 1])


@group.contract("list-odd-limit", "A limit outside 1 to 100 is replaced by 50.", "wire-contract 3.8")
def list_odd_limit(context: Context) -> None:
    assert_equal("limits", [_page(context, limit=limit)["limit"] for limit in (0, 101)], [50, 50])


@group.contract("get", "An alert can be retrieved by its id.", "wire-contract 3.8")
def get(context: Context) -> None:
    alerts = _page(context, limit=1)["alerts"]
    if not alerts:
        raise SkipCheck("the account has no alert")
    found = read_object(context.get(f"/alerts/{path_segment(alerts[0]['id'])}"), ALERT)
    assert_equal("id", found["id"], alerts[0]["id"])


@group.contract("budget", "A budget alert has the documented title, percentage and message.", "platform-behaviour B12")
def budget(context: Context) -> None:
    found = [alert for alert in _page(context, limit=100)["alerts"] if alert["rule_type"] == "budget_exceeded"]
    if not found:
        raise SkipCheck("the account has no budget alert")
    assert_equal("title", found[0]["title"], "Budget Threshold Exceeded")
    percent = found[0]["meta"].get("percent")
    assert_matches("meta.percent", percent, r"\d+(\.\d+)?")
    assert_contains("a message", found[0]["message"], f"{percent}%")


@group.contract("rules", "The rules are a bare array.", "wire-contract 3.8")
def rules(context: Context) -> None:
    read_array(context.get("/alerts/rules"), RULE)


@group.contract("rule-types", "Every rule has one of the five types.", "wire-contract 3.8")
def rule_types(context: Context) -> None:
    found = [rule["type"] for rule in read_array(context.get("/alerts/rules"), RULE)]
    assert_true(set(found) <= set(_TYPES), f"only {', '.join(_TYPES)}", found)


@group.contract("rule-update", "Updating a rule returns the rule.", "wire-contract 3.8")
def rule_update(context: Context) -> None:
    rule = _rule(context)
    answer = context.put(_rule_path(rule), json={"enabled": rule["enabled"]})
    found = read_object(answer, RULE)
    assert_equal("id, enabled", [found["id"], found["enabled"]], [rule["id"], rule["enabled"]])


@group.contract("rule-empty-config", "An empty config changes nothing.", "wire-contract 3.8")
def rule_empty_config(context: Context) -> None:
    rule = _rule(context)
    answer = context.put(_rule_path(rule), json={"config": {}})
    assert_equal("config", read_object(answer, RULE)["config"], rule["config"])


@group.contract("rule-toggle", "Disabling and enabling a rule keeps its config.", "wire-contract 3.8")
def rule_toggle(context: Context) -> None:
    rule = _rule(context)
    path = _rule_path(rule)
    context.add_cleanup("PUT", path, f"rule {rule['id']}", {"enabled": rule["enabled"]})
    found = read_object(context.put(path, json={"enabled": not rule["enabled"]}), RULE)
    context.require_success(context.put(path, json={"enabled": rule["enabled"]}), "restoring the rule")
    assert_equal("enabled, config", [found["enabled"], found["config"]], [not rule["enabled"], rule["config"]])
