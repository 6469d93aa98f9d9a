"""The plan, what was used, and where both are changed."""

from __future__ import annotations

from typing import Any

from .. import _arguments as arguments
from .._call import Call, ExpectedContent, ignore
from .._errors import CagedError
from .._http import AsyncSession, Session
from .._json import json_type
from .._literals import Plan
from .._models.billing import Subscription, Usage
from .._tracebacks import short_tracebacks


def get_subscription() -> Call[Subscription]:
    return Call("GET", "/billing/subscription", ExpectedContent.OBJECT, Subscription.from_api, repeatable=True)


def get_usage() -> Call[Usage]:
    return Call("GET", "/billing/usage", ExpectedContent.OBJECT, Usage.from_api, repeatable=True)


def create_checkout(plan: str) -> Call[str]:
    if not plan:
        raise CagedError("plan is empty; name one, such as 'pro' or 'team'")
    body = {"plan_id": arguments.text("plan", plan)}
    return Call("POST", "/billing/checkout", ExpectedContent.OBJECT, _url, body=body)


def create_portal() -> Call[str]:
    return Call("POST", "/billing/portal", ExpectedContent.OBJECT, _url, body={})


def _url(data: Any) -> str:
    url = data.get("url")
    if not isinstance(url, str):
        raise CagedError(f"url must be a string, not {json_type(url)}")
    return url


def cancel() -> Call[None]:
    return Call("POST", "/billing/cancel", ExpectedContent.NOTHING, ignore)


@short_tracebacks
class Billing:
    """``caged.billing``"""

    def __init__(self, session: Session) -> None:
        self._session = session

    def get_subscription(self) -> Subscription:
        """The account's plan."""
        return self._session.send(get_subscription())

    def get_usage(self) -> Usage:
        """Machine time used in the current period."""
        return self._session.send(get_usage())

    def create_checkout(self, plan: Plan) -> str:
        """Begin the purchase of a plan.

        Args:
            plan: ``pro`` or ``team``.

        Returns:
            The URL of the page where it is completed.

        Raises:
            CagedError: `plan` is empty; nothing is sent.
        """
        return self._session.send(create_checkout(plan))

    def create_portal(self) -> str:
        """The address of a page where the subscription can be managed."""
        return self._session.send(create_portal())

    def cancel(self) -> None:
        """End the subscription with the current period."""
        self._session.send(cancel())


@short_tracebacks
class AsyncBilling:
    """``caged.billing`` of `AsyncCaged`; every method is described in `Billing`."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def get_subscription(self) -> Subscription:
        """See `Billing.get_subscription`."""
        return await self._session.send(get_subscription())

    async def get_usage(self) -> Usage:
        """See `Billing.get_usage`."""
        return await self._session.send(get_usage())

    async def create_checkout(self, plan: Plan) -> str:
        """See `Billing.create_checkout`."""
        return await self._session.send(create_checkout(plan))

    async def create_portal(self) -> str:
        """See `Billing.create_portal`."""
        return await self._session.send(create_portal())

    async def cancel(self) -> None:
        """See `Billing.cancel`."""
        await self._session.send(cancel())
