"""The subscription and the usage. Nothing is bought and nothing is cancelled."""

from __future__ import annotations

from ..assertions import assert_equal, assert_matches, assert_true, read_object
from ..check import Group
from ..context import Context
from ..shapes import SUBSCRIPTION, USAGE

group = Group("billing")


@group.contract("subscription", "The subscription has tier, status and cancel_at_period_end.", "wire-contract 3.10")
def subscription(context: Context) -> None:
    read_object(context.get("/billing/subscription"), SUBSCRIPTION)


@group.contract("tier", "The tier is the name of a plan, and the same as the account's.", "wire-contract 3.10")
def tier(context: Context) -> None:
    found = read_object(context.get("/billing/subscription")).get("tier")
    assert_matches("tier", found, "free|pro|team|enterprise")
    assert_equal("tier", found, context.require_json(context.get("/account"), "the account").get("tier"))


@group.contract("usage", "The usage has compute_minutes, reported_minutes and pending_seconds.", "wire-contract 3.10")
def usage(context: Context) -> None:
    read_object(context.get("/billing/usage"), USAGE)


@group.contract("usage-sum", "compute_minutes is the sum of reported and pending time.", "wire-contract 3.10")
def usage_sum(context: Context) -> None:
    found = read_object(context.get("/billing/usage"), USAGE)
    wanted = found["reported_minutes"] + found["pending_seconds"] / 60
    assert_true(abs(found["compute_minutes"] - wanted) <= 1, f"about {wanted:.1f}", found["compute_minutes"])
