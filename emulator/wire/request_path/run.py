"""Run the operation: one handler of a request. `wire/dispatch.py` lists those that run before and after it."""

from __future__ import annotations

from ..fault_injection.socket_effects import SocketInterruption
from ..operation import Call, EmptyBody
from ..sockets import SocketCall
from .exchange import HttpExchange, SocketExchange


async def run(exchange: HttpExchange) -> None:
    """Run the operation of an HTTP request."""
    exchange.response = await exchange.served.handler(
        Call(
            exchange.request,
            exchange.platform,
            exchange.account,
            exchange.key,
            exchange.body or EmptyBody(),
            exchange.record.warnings,
            exchange.injection,
        )
    )


async def run_socket(exchange: SocketExchange) -> None:
    """Serve a WebSocket until it ends, or until a fault ends it."""
    assert exchange.sandbox is not None
    assert exchange.key is not None
    injection, scope = exchange.injection, exchange.socket.scope
    interruption = None
    if injection is not None and injection.fault.interrupts:
        cage = exchange.platform.live.of(exchange.sandbox).cage
        assert cage is not None
        interruption = SocketInterruption(injection, scope, exchange.send, cage.crash)
        exchange.replace_send(interruption.send)
    exchange.call = SocketCall(exchange.socket, exchange.platform, exchange.account, exchange.key, exchange.sandbox)
    work = exchange.served.handler(exchange.call)
    await (work if interruption is None else interruption.run(work))
