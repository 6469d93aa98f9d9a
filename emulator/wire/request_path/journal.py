"""Record a request in the journal: at once, and again when its response is known."""

from __future__ import annotations

from ...platform.errors import ApiError
from ..bodies import parse_and_redact
from ..operation import Body
from . import record_step
from .exchange import Exchange, HttpExchange


async def begin(exchange: Exchange) -> None:
    """Add the request to the journal, before anything can end it."""
    exchange.record.at = exchange.platform.clock.timestamp()
    exchange.platform.journal.add(exchange.record)
    record_step.begin(exchange)


def assign(exchange: Exchange) -> None:
    """Record which account the request belongs to, and the time that the account's clock shows."""
    platform = exchange.platform
    platform.journal.assign(exchange.record, exchange.account.id, platform.clock.timestamp())
    record_step.assign(exchange)


async def finish(exchange: HttpExchange) -> None:
    """Record the status, the duration and both bodies, without secrets."""
    assert exchange.response is not None
    exchange.record.status = exchange.response.status_code
    exchange.record.duration_ms = exchange.elapsed_ms
    response_body = getattr(exchange.response, "body", b"")
    exchange.platform.journal.finish(exchange.record, _request_body(exchange), response_body)
    record_step.finish(exchange)


def _request_body(exchange: HttpExchange) -> bytes:
    """The body, unless it may hold secrets that are not known: those of a body that cannot be parsed."""
    model = exchange.served.body
    if model is None or model.secret_values is Body.secret_values or exchange.body is not None:
        return exchange.raw_body
    try:
        parse_and_redact(exchange.raw_body, exchange.served, exchange.platform.journal, exchange.account.id)
    except ApiError:
        return b""
    return exchange.raw_body
