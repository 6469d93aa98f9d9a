"""Billing (wire-contract.md 3.10). The two pages behind its URLs are the emulator's own, in plain text."""

from __future__ import annotations

from typing import Any, Optional

from pydantic import ConfigDict, Field
from starlette.responses import PlainTextResponse, Response

from ..control.clock import rfc3339
from ..platform.billing import PLANS
from ..store import AccountRecord
from .operation import Body, Call, EmptyBody, Model, Operations, json_reply, no_content

operations = Operations()


class SubscriptionOut(Model):
    """The account's plan. `current_period_end` is absent on the free plan."""

    tier: str
    status: str
    customer_id: str
    current_period_end: Optional[str]
    cancel_at_period_end: bool

    def model_dump_json(self, **_options: Any) -> str:
        return super().model_dump_json(exclude_none=True)


class UsageOut(Model):
    compute_minutes: int
    reported_minutes: int
    pending_seconds: int
    last_reported_at: Optional[str]

    def model_dump_json(self, **_options: Any) -> str:
        return super().model_dump_json(exclude_none=True)


class Checkout(Body):
    model_config = ConfigDict(json_schema_extra={"required": ["plan_id"]})

    plan_id: Optional[str] = Field(None, json_schema_extra={"enum": list(PLANS)})


class Portal(Body):
    pass


class Page(Model):
    url: str


def serialize(account: AccountRecord) -> SubscriptionOut:
    """The account's subscription as clients read it."""
    end = account.subscription.period_end
    return SubscriptionOut(
        tier=account.tier,
        status="canceled" if account.subscription.ended else "active",
        customer_id=f"cus_{account.id.partition('_')[2]}",
        current_period_end=None if end is None else rfc3339(end),
        cancel_at_period_end=account.subscription.cancel_at_period_end,
    )


def _page(call: Call[Any], path: str) -> Response:
    return json_reply(Page(url=f"{call.request.url.scheme}://{call.request.headers['host']}{path}"))


@operations.add("GET", "/v1/billing/subscription", "billing.get_subscription", reply=SubscriptionOut)
async def subscription(call: Call[EmptyBody]) -> Response:
    return json_reply(serialize(call.account))


@operations.add("GET", "/v1/billing/usage", "billing.get_usage", reply=UsageOut)
async def usage(call: Call[EmptyBody]) -> Response:
    found = call.platform.billing.usage(call.account)
    return json_reply(
        UsageOut(
            compute_minutes=found.compute_minutes,
            reported_minutes=found.reported_minutes,
            pending_seconds=found.pending_seconds,
            last_reported_at=call.account.subscription.reported_at,
        )
    )


@operations.add("POST", "/v1/billing/checkout", "billing.create_checkout", Checkout, reply=Page)
async def checkout(call: Call[Checkout]) -> Response:
    return _page(call, call.platform.billing.checkout(call.account, call.body.plan_id or ""))


@operations.add("POST", "/v1/billing/portal", "billing.create_portal", Portal, reply=Page)
async def portal(call: Call[Portal]) -> Response:
    return _page(call, call.platform.billing.portal(call.account))


@operations.add("POST", "/v1/billing/cancel", "billing.cancel", errors=[409])
async def cancel(call: Call[EmptyBody]) -> Response:
    call.platform.billing.cancel(call.account)
    return no_content()


@operations.add("GET", "/billing/checkout/{id}", "billing.checkout_page", public=True, reply=str)
async def checkout_page(call: Call[EmptyBody]) -> Response:
    if call.request.method == "HEAD":
        return PlainTextResponse()  # only opening the page buys the plan
    account = call.platform.billing.pay(call.param("id"))
    return PlainTextResponse(
        f"Account {account.id} is on the {account.tier} plan now.\n"
        "This is the Caged emulator: nothing was charged, and opening this page was all it took.\n"
    )


@operations.add("GET", "/billing/portal/{id}", "billing.portal_page", public=True, reply=str)
async def portal_page(call: Call[EmptyBody]) -> Response:
    account = call.platform.billing.open_portal(call.param("id"))
    found = serialize(account)
    lines = [f"Account {account.id}", f"Plan: {found.tier} ({found.status})"]
    if found.current_period_end is not None:
        verb = "ends" if found.cancel_at_period_end else "renews"
        lines.append(f"The subscription {verb} on {found.current_period_end}")
    lines += [
        f"Running time so far: {call.platform.billing.usage(account).compute_minutes} minutes",
        "This is the Caged emulator: change the plan with POST /v1/billing/checkout, end it with /v1/billing/cancel.",
    ]
    return PlainTextResponse("\n".join(lines) + "\n")
