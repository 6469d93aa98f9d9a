"""Read the body of a request, within the operation's limits."""

from __future__ import annotations

from .. import bodies
from .exchange import HttpExchange


async def read_body(exchange: HttpExchange) -> None:
    exchange.raw_body = await bodies.read_body(exchange.request, exchange.served, exchange.platform.long_work)
