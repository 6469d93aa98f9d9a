"""Billing: an account's plan, its period, and the running time of its sandboxes. No money moves anywhere.

Source: docs/contract/wire-contract.md 3.10. The pages that the platform would leave to its payment provider are ours,
and take effect when they are opened. A period is 30 days; a subscription that was not cancelled renews itself.
"""

from __future__ import annotations

import logging
import secrets
from dataclasses import dataclass, replace

from ..control.clock import Clock, rfc3339
from ..store import AccountRecord, Store, Subscription
from . import cost
from .errors import ApiError, invalid, not_found
from .signals import Signals

logger = logging.getLogger(__name__)

FREE = "free"
PLANS = ("pro", "team")
PERIOD_SECONDS = 30 * 24 * 3600
#: How long a checkout or portal URL can be opened, and how many are kept.
LINK_SECONDS = 24 * 3600
LINKS_KEPT = 10_000
#: Running time is reported to the biller when so much of it has come together.
REPORT_SECONDS = 300


def subscribe(account: AccountRecord, plan: str, now: float) -> None:
    """Begin a plan now, for one period after the other. The free plan has no periods."""
    account.tier = plan
    account.subscription.period_end = None if plan == FREE else now + PERIOD_SECONDS
    account.subscription.cancel_at_period_end = False
    account.subscription.ended = False


def settle(account: AccountRecord, now: float) -> None:
    """Renew or end a subscription whose period has ended by `now`."""
    subscription = account.subscription
    if subscription.period_end is None or now < subscription.period_end:
        return
    if subscription.cancel_at_period_end:
        subscribe(account, FREE, now)
        subscription.ended = True
    else:
        subscription.period_end += PERIOD_SECONDS * (1 + (now - subscription.period_end) // PERIOD_SECONDS)


@dataclass(frozen=True)
class Usage:
    """`compute_minutes` is `reported_minutes` and the whole minutes of `pending_seconds`; all since the account was
    made."""

    compute_minutes: int
    reported_minutes: int
    pending_seconds: int


@dataclass(frozen=True)
class BillingLink:
    """A page that can be opened without a key. `plan`: what opening it buys; empty for the portal."""

    account_id: str
    plan: str
    expires: float


class Billing:
    def __init__(self, store: Store, clock: Clock, signals: Signals) -> None:
        self._store = store
        self._clock = clock
        self._signals = signals
        self._links: dict[str, BillingLink] = {}
        self._signals.connect("clock_set", self._clock_set)

    def _clock_set(self, account_id: str, seconds: float) -> None:
        for name, link in self._links.items():
            if link.account_id == account_id:
                self._links[name] = replace(link, expires=link.expires + seconds)

    def usage(self, account: AccountRecord) -> Usage:
        """Return the running time of the account's sandboxes, destroyed ones included, without pauses, by the
        account's clock."""
        now = self._clock.time()
        boxes = [box for box in self._store.sandboxes.values() if box.account_id == account.id]
        seconds = account.past_seconds + sum(cost.running_seconds(box, now) for box in boxes)
        subscription = account.subscription
        # Rounded first: 3600 s come out of the division by the rate as 3599.9999999.
        whole = int(round(seconds, 3))
        if whole - 60 * subscription.reported_minutes >= REPORT_SECONDS:
            subscription.reported_minutes = whole // 60
            subscription.reported_at = rfc3339(now)
        pending = max(0, whole - 60 * subscription.reported_minutes)
        return Usage(subscription.reported_minutes + pending // 60, subscription.reported_minutes, pending)

    def reset(self, account: AccountRecord, plan: str) -> None:
        """Begin a plan, with no running time from before."""
        account.past_seconds = 0.0
        account.subscription = Subscription()
        subscribe(account, plan, self._clock.time())

    def cancel(self, account: AccountRecord) -> None:
        """Cancel the subscription at the end of its period. Repeating it changes nothing; 409 on the free plan."""
        if account.subscription.period_end is None:
            raise ApiError(
                409,
                "the account is on the free plan; there is nothing to cancel",
                "invalid_state",
                "",
                "account",
                account.id,
            )
        account.subscription.cancel_at_period_end = True

    # --- pages

    def checkout(self, account: AccountRecord, plan: str) -> str:
        """Return the path of the page that buys `plan`. 400 for an unknown one."""
        if not plan:
            raise invalid("plan_id: is required; use pro or team")
        if plan not in PLANS:
            raise invalid(f"plan_id: {plan!r} is unknown; use pro or team")
        return f"/billing/checkout/{self._link(account, plan)}"

    def portal(self, account: AccountRecord) -> str:
        """Return the path of the page that shows the subscription."""
        return f"/billing/portal/{self._link(account, '')}"

    def _link(self, account: AccountRecord, plan: str) -> str:
        now = self._clock.time()
        self._links = {name: link for name, link in self._links.items() if now < link.expires}
        while len(self._links) >= LINKS_KEPT:
            del self._links[next(iter(self._links))]
        name = secrets.token_urlsafe(18)
        self._links[name] = BillingLink(account.id, plan, now + LINK_SECONDS)
        return name

    def pay(self, name: str) -> AccountRecord:
        """Open a checkout page, which works once: put the account on its plan. 404 for an unknown page."""
        account, plan = self._opened(name, checkout=True)
        del self._links[name]
        subscribe(account, plan, self._clock.time())
        logger.info("account %s is on the %s plan now; no payment was made", account.id, plan)
        return account

    def open_portal(self, name: str) -> AccountRecord:
        """Return the account of a portal page. 404 for an unknown page."""
        account, _plan = self._opened(name, checkout=False)
        return account

    def _opened(self, name: str, checkout: bool) -> tuple[AccountRecord, str]:
        now = self._clock.time()
        link = self._links.get(name)
        account = None if link is None else self._store.accounts.get(link.account_id)
        if link is None or account is None or now >= link.expires or bool(link.plan) is not checkout:
            kind = "checkout" if checkout else "portal session"
            raise not_found(kind, f"{name} (used, expired, or never made; ask the API for a new URL)")
        settle(account, now)
        return account, link.plan
