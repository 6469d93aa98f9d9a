"""Billing: what can be looked at. Nothing is bought and nothing is cancelled."""

from __future__ import annotations

from ..assertions import assert_equal, assert_matches, assert_true, read_object
from ..check import Group
from ..context import Context
from ..shapes import SUBSCRIPTION, USAGE

group = Group("billing")


@group.contract("subscription", "The subscription has tier, status and whether it ends.", "wire-contract 3.10")
def subscription(context: Context) -> None:
    read_object(context.get("/billing/subscription"), SUBSCRIPTION)


@group.contract("tier", "The tier is a plan's name, and the account's.", "wire-contract 3.10")
def tier(context: Context) -> None:
    found = read_object(context.get("/billing/subscription")).get("tier")
    assert_matches("tier", found, "free|pro|team|enterprise")
    assert_equal("tier", found, context.require_json(context.get("/account"), "the account").get("tier"))


@group.contract("usage", "The usage is minutes, reported ones, and pending seconds.", "wire-contract 3.10")
def usage(context: Context) -> None:
    read_object(context.get("/billing/usage"), USAGE)


@group.contract("usage-sum", "compute_minutes is reported plus pending.", "wire-contract 3.10")
def usage_sum(context: Context) -> None:
    found = read_object(context.get("/billing/usage"), USAGE)
    wanted = found["reported_minutes"] + found["pending_seconds"] / 60
    assert_true(abs(found["compute_minutes"] - wanted) <= 1, f"about {wanted:.1f}", found["compute_minutes"])
