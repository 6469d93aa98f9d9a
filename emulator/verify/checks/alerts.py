"""Alerts and their rules. Alerts are looked at where there are some: none is made."""

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


def _page(context: Context, **query: Any) -> dict[str, Any]:
    return read_object(context.get("/alerts", params=query), ALERTS)


def _rule(context: Context) -> dict[str, Any]:
    """One that is there: it is written back as it was."""
    found = context.require_json(context.get("/alerts/rules"), "the list of rules")
    if not isinstance(found, list) or not found or not isinstance(found[0], dict):
        raise SkipCheck("the account has no alert rules")
    wanted = (rule for rule in found if rule.get("type") == "budget_exceeded")
    return dict(next(wanted, found[0]))


@group.contract("list", "The list is a page: alerts, total, limit and offset.", "wire-contract 3.8")
def listed(context: Context) -> None:
    _page(context)


@group.contract("list-default", "Without a limit it is 50, and the offset is 0.", "wire-contract 3.8")
def list_default(context: Context) -> None:
    found = _page(context)
    assert_equal("limit, offset", [found["limit"], found["offset"]], [50, 0])


@group.contract("list-limit", "limit and offset are those asked for.", "wire-contract 3.8")
def list_limit(context: Context) -> None:
    found = _page(context, limit=3, offset=1)
    assert_equal("limit, offset", [found["limit"], found["offset"]], [3, 1])


@group.contract("list-odd-limit", "A limit that is not 1 to 100 is 50.", "wire-contract 3.8")
def list_odd_limit(context: Context) -> None:
    assert_equal("limits", [_page(context, limit=limit)["limit"] for limit in (0, 101)], [50, 50])


@group.contract("get", "An alert can be looked at by its id.", "wire-contract 3.8")
def get(context: Context) -> None:
    alerts = _page(context, limit=1)["alerts"]
    if not alerts:
        raise SkipCheck("the account has no alert")
    found = read_object(context.get(f"/alerts/{path_segment(alerts[0]['id'])}"), ALERT)
    assert_equal("id", found["id"], alerts[0]["id"])


@group.contract("budget", "The alert of a budget tells title and share as documented.", "platform-behaviour B12")
def budget(context: Context) -> None:
    found = [alert for alert in _page(context, limit=100)["alerts"] if alert["rule_type"] == "budget_exceeded"]
    if not found:
        raise SkipCheck("the account has no alert of a budget")
    assert_equal("title", found[0]["title"], "Budget Threshold Exceeded")
    percent = found[0]["meta"].get("percent")
    assert_matches("meta.percent", percent, r"\d+(\.\d+)?")
    assert_contains("a message", found[0]["message"], f"{percent}%")


@group.contract("rules", "The rules are a bare array.", "wire-contract 3.8")
def rules(context: Context) -> None:
    read_array(context.get("/alerts/rules"), RULE)


@group.contract("rule-types", "Every rule is of one of the five types.", "wire-contract 3.8")
def rule_types(context: Context) -> None:
    found = [rule["type"] for rule in read_array(context.get("/alerts/rules"), RULE)]
    assert_true(set(found) <= set(_TYPES), f"only {', '.join(_TYPES)}", found)


@group.contract("rule-update", "An update answers the rule.", "wire-contract 3.8")
def rule_update(context: Context) -> None:
    rule = _rule(context)
    answer = context.put(f"/alerts/rules/{path_segment(rule['id'])}", json={"enabled": rule["enabled"]})
    found = read_object(answer, RULE)
    assert_equal("id, enabled", [found["id"], found["enabled"]], [rule["id"], rule["enabled"]])


@group.contract("rule-empty-config", "An empty config changes nothing.", "wire-contract 3.8")
def rule_empty_config(context: Context) -> None:
    rule = _rule(context)
    answer = context.put(f"/alerts/rules/{path_segment(rule['id'])}", json={"config": {}})
    assert_equal("config", read_object(answer, RULE)["config"], rule["config"])


@group.contract("rule-toggle", "A rule can be turned off and on, and its config stays.", "wire-contract 3.8")
def rule_toggle(context: Context) -> None:
    rule = _rule(context)
    path = f"/alerts/rules/{path_segment(rule['id'])}"
    context.add_cleanup("PUT", path, f"rule {rule['id']}", {"enabled": rule["enabled"]})
    found = read_object(context.put(path, json={"enabled": not rule["enabled"]}), RULE)
    context.require_success(context.put(path, json={"enabled": rule["enabled"]}), "turning the rule back")
    assert_equal("enabled, config", [found["enabled"], found["config"]], [not rule["enabled"], rule["config"]])
