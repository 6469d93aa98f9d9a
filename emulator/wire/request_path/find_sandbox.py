"""Find the sandbox of a WebSocket."""

from __future__ import annotations

from .exchange import SocketExchange


async def find_sandbox(exchange: SocketExchange) -> None:
    """Find the running sandbox that the path names; 404 or 409 otherwise."""
    exchange.record.sandbox = exchange.id_in_path
    exchange.sandbox = exchange.platform.sandboxes.running(exchange.account, exchange.record.sandbox)
