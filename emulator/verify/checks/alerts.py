"""Alerts and their rules. Alerts are looked at where there are some: none is made."""

from __future__ import annotations

from typing import Any

from ..check import Group, Unchecked
from ..context import Context
from ..expect import an_array, an_object, holds, matches, same, true
from ..shapes import ALERT, ALERTS, RULE
from ..wire import segment

group = Group("alerts")

_TYPES = ("budget_exceeded", "cost_anomaly", "agent_stuck", "error_spike", "trust_score_low")


def _page(bench: Context, **query: Any) -> dict[str, Any]:
    return an_object(bench.get("/alerts", params=query), ALERTS)


def _rule(bench: Context) -> dict[str, Any]:
    """One that is there: it is written back as it was."""
    found = bench.needed(bench.get("/alerts/rules"), "the list of rules")
    if not isinstance(found, list) or not found or not isinstance(found[0], dict):
        raise Unchecked("the account has no alert rules")
    wanted = (rule for rule in found if rule.get("type") == "budget_exceeded")
    return dict(next(wanted, found[0]))


@group.contract("list", "The list is a page: alerts, total, limit and offset.", "wire-contract 3.8")
def listed(bench: Context) -> None:
    _page(bench)


@group.contract("list-default", "Without a limit it is 50, and the offset is 0.", "wire-contract 3.8")
def list_default(bench: Context) -> None:
    found = _page(bench)
    same("limit, offset", [found["limit"], found["offset"]], [50, 0])


@group.contract("list-limit", "limit and offset are those asked for.", "wire-contract 3.8")
def list_limit(bench: Context) -> None:
    found = _page(bench, limit=3, offset=1)
    same("limit, offset", [found["limit"], found["offset"]], [3, 1])


@group.contract("list-odd-limit", "A limit that is not 1 to 100 is 50.", "wire-contract 3.8")
def list_odd_limit(bench: Context) -> None:
    same("limits", [_page(bench, limit=limit)["limit"] for limit in (0, 101)], [50, 50])


@group.contract("get", "An alert can be looked at by its id.", "wire-contract 3.8")
def get(bench: Context) -> None:
    alerts = _page(bench, limit=1)["alerts"]
    if not alerts:
        raise Unchecked("the account has no alert")
    found = an_object(bench.get(f"/alerts/{segment(alerts[0]['id'])}"), ALERT)
    same("id", found["id"], alerts[0]["id"])


@group.contract("budget", "The alert of a budget tells title and share as documented.", "platform-behaviour B12")
def budget(bench: Context) -> None:
    found = [alert for alert in _page(bench, limit=100)["alerts"] if alert["rule_type"] == "budget_exceeded"]
    if not found:
        raise Unchecked("the account has no alert of a budget")
    same("title", found[0]["title"], "Budget Threshold Exceeded")
    percent = found[0]["meta"].get("percent")
    matches("meta.percent", percent, r"\d+(\.\d+)?")
    holds("a message", found[0]["message"], f"{percent}%")


@group.contract("rules", "The rules are a bare array.", "wire-contract 3.8")
def rules(bench: Context) -> None:
    an_array(bench.get("/alerts/rules"), RULE)


@group.contract("rule-types", "Every rule is of one of the five types.", "wire-contract 3.8")
def rule_types(bench: Context) -> None:
    found = [rule["type"] for rule in an_array(bench.get("/alerts/rules"), RULE)]
    true(set(found) <= set(_TYPES), f"only {', '.join(_TYPES)}", found)


@group.contract("rule-update", "An update answers the rule.", "wire-contract 3.8")
def rule_update(bench: Context) -> None:
    rule = _rule(bench)
    answer = bench.put(f"/alerts/rules/{segment(rule['id'])}", json={"enabled": rule["enabled"]})
    found = an_object(answer, RULE)
    same("id, enabled", [found["id"], found["enabled"]], [rule["id"], rule["enabled"]])


@group.contract("rule-empty-config", "An empty config changes nothing.", "wire-contract 3.8")
def rule_empty_config(bench: Context) -> None:
    rule = _rule(bench)
    answer = bench.put(f"/alerts/rules/{segment(rule['id'])}", json={"config": {}})
    same("config", an_object(answer, RULE)["config"], rule["config"])


@group.contract("rule-toggle", "A rule can be turned off and on, and its config stays.", "wire-contract 3.8")
def rule_toggle(bench: Context) -> None:
    rule = _rule(bench)
    path = f"/alerts/rules/{segment(rule['id'])}"
    bench.undo("PUT", path, f"rule {rule['id']}", {"enabled": rule["enabled"]})
    found = an_object(bench.put(path, json={"enabled": not rule["enabled"]}), RULE)
    bench.need(bench.put(path, json={"enabled": rule["enabled"]}), "turning the rule back")
    same("enabled, config", [found["enabled"], found["config"]], [not rule["enabled"], rule["config"]])
