"""Accepting connections, apart from a server."""

from __future__ import annotations

import asyncio
import socket

from caged.emulator.listener import Listener


def test_connection_that_was_accepted_before_the_end_is_passed_on_before_it_is_closed() -> None:
    passed_on: list[socket.socket] = []

    async def accept_and_close() -> None:
        accepted, may_end = asyncio.Event(), asyncio.Event()

        async def on_connection(connection: socket.socket) -> None:
            accepted.set()
            await may_end.wait()
            passed_on.append(connection)

        listening = socket.create_server(("127.0.0.1", 0))
        listener = Listener(listening, on_connection)
        with socket.create_connection(listening.getsockname(), timeout=10):
            await asyncio.wait_for(accepted.wait(), 10)
            listener.close()
            asyncio.get_running_loop().call_later(0.05, may_end.set)
            await listener.wait_closed()
            assert len(passed_on) == 1

    try:
        asyncio.run(accept_and_close())
    finally:
        for connection in passed_on:
            connection.close()
