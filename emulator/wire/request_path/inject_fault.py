"""Inject a fault into a request: one may be taken, and has its effects before, instead of or after the operation."""

from __future__ import annotations

import functools

from ...control import near_misses
from ..fault_injection import http_effects, socket_effects
from .errors import CLIENT_CLOSED_REQUEST
from .exchange import Exchange, HttpExchange, SocketExchange


async def take(exchange: Exchange) -> None:
    """Take the first fault whose turn it is with this request."""
    record, faults = exchange.record, exchange.platform.faults
    request = (record.operation, record.method, record.path, record.sandbox)
    exchange.injection = faults.take(exchange.account.id, *request, functools.partial(setattr, record, "fault"))
    if exchange.injection is None and faults and exchange.step is not None:
        misses = near_misses.of_faults(*request, faults.list(exchange.account.id))
        if misses:
            shown = exchange.platform.journal.redacted_path
            exchange.step.detail["near_misses"] = [shown(exchange.account.id, miss) for miss in misses]


async def before_operation(exchange: HttpExchange) -> None:
    """Apply the effects that precede the operation. One of them may be a response in place of the operation's."""
    if exchange.injection is None:
        return
    exchange.response = await http_effects.before(exchange.injection, exchange.request)
    exchange.is_answered_by_fault = exchange.response is not None


async def after_operation(exchange: HttpExchange) -> None:
    """Apply the effects that change the operation's response, or prevent that it arrives."""
    injection, response = exchange.injection, exchange.response
    if injection is None or response is None or exchange.is_answered_by_fault:
        return
    if response.status_code == CLIENT_CLOSED_REQUEST:
        return
    exchange.response = http_effects.after(injection, response, exchange.request)
    if exchange.response is response:
        injection.release()  # no effect can follow


async def before_handshake(exchange: SocketExchange) -> None:
    """Apply the effects that precede the completion of a handshake."""
    if exchange.injection is not None:
        exchange.response = await socket_effects.before_handshake(exchange.injection, exchange.socket)


def release(exchange: Exchange) -> None:
    """Give the fault back when the request is over, if it has not triggered by then."""
    if exchange.injection is not None:
        exchange.injection.release()
