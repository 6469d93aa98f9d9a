"""Count a request for the rate limit of its account's plan."""

from __future__ import annotations

from ...platform.errors import ApiError
from .exchange import Exchange


async def count(exchange: Exchange) -> None:
    """Count the request, and reject it with 429 beyond the limit. A request without a key is not counted."""
    if exchange.key is None:
        return
    accounts = exchange.platform.accounts
    try:
        exchange.rate_window = accounts.count_request(exchange.account)
    except ApiError:
        exchange.rate_window = accounts.rate_window(exchange.account)  # for the headers of the 429
        raise
