"""Add the headers that all responses have."""

from __future__ import annotations

from ..common_headers import add_common_headers
from .exchange import HttpExchange


async def add_headers(exchange: HttpExchange) -> None:
    assert exchange.response is not None
    add_common_headers(exchange.response, exchange.platform, exchange.rate_window, exchange.served.admin)
