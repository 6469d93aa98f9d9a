"""Reject a request that its key does not permit."""

from __future__ import annotations

from ...platform.errors import ApiError
from .exchange import HttpExchange


async def check_scope(exchange: HttpExchange) -> None:
    """Reject a change by a read-only key with 403."""
    key = exchange.key
    if key is not None and key.scope == "read_only" and not exchange.is_read:
        raise ApiError(403, "this key is read-only", "read_only_key", "", "api_key", key.id)
