"""Billing: what can be looked at. Nothing is bought and nothing is cancelled."""

from __future__ import annotations

from ..check import Group
from ..context import Context
from ..expect import an_object, matches, same, true
from ..shapes import SUBSCRIPTION, USAGE

group = Group("billing")


@group.contract("subscription", "The subscription has tier, status and whether it ends.", "wire-contract 3.10")
def subscription(bench: Context) -> None:
    an_object(bench.get("/billing/subscription"), SUBSCRIPTION)


@group.contract("tier", "The tier is a plan's name, and the account's.", "wire-contract 3.10")
def tier(bench: Context) -> None:
    found = an_object(bench.get("/billing/subscription")).get("tier")
    matches("tier", found, "free|pro|team|enterprise")
    same("tier", found, bench.needed(bench.get("/account"), "the account").get("tier"))


@group.contract("usage", "The usage is minutes, reported ones, and pending seconds.", "wire-contract 3.10")
def usage(bench: Context) -> None:
    an_object(bench.get("/billing/usage"), USAGE)


@group.contract("usage-sum", "compute_minutes is reported plus pending.", "wire-contract 3.10")
def usage_sum(bench: Context) -> None:
    found = an_object(bench.get("/billing/usage"), USAGE)
    wanted = found["reported_minutes"] + found["pending_seconds"] / 60
    true(abs(found["compute_minutes"] - wanted) <= 1, f"about {wanted:.1f}", found["compute_minutes"])
