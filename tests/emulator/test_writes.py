"""A short response arrives in one piece: its head is sent together with its body."""

from __future__ import annotations

import asyncio
import socket
from typing import Any
from urllib.parse import urlsplit

import pytest
from emulator_testing import Api

from caged.emulator.writes import JoinedWrites


class _Transport:
    """Keeps what is written to it."""

    def __init__(self) -> None:
        self.done: list[Any] = []

    def write(self, data: bytes) -> None:
        self.done.append(data)

    def close(self) -> None:
        self.done.append("closed")

    def abort(self) -> None:
        self.done.append("aborted")


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (["hold_next", b"head", b"body"], [b"headbody"]),
        (["hold_next", b"head", b"", b"body", b"more"], [b"headbody", b"more"]),
        (["hold_next", b"head", b"x" * 70_000], [b"head", b"x" * 70_000]),
        (["hold_next", b"head", "flush", b"body"], [b"head", b"body"]),
        (["hold_next", b"head", "hold_next", b"head 2", b"body"], [b"head", b"head 2body"]),
        (["hold_next", b"head", "close"], [b"head", "closed"]),
        (["hold_next", b"head", "abort"], [b"head", "aborted"]),
        ([b"head", b"body", b""], [b"head", b"body"]),
    ],
)
def test_writes_are_joined_in_order(steps: list[Any], expected: list[Any]) -> None:
    async def run() -> list[Any]:
        transport: Any = _Transport()
        writes = JoinedWrites(transport, asyncio.get_running_loop())
        for step in steps:
            writes.write(step) if isinstance(step, bytes) else getattr(writes, step)()
        done = list(transport.done)
        await asyncio.sleep(0)
        assert transport.done == done
        return done

    assert asyncio.run(run()) == expected


def test_head_without_body_is_sent_in_the_next_iteration() -> None:
    async def run() -> list[Any]:
        transport: Any = _Transport()
        writes = JoinedWrites(transport, asyncio.get_running_loop())
        writes.hold_next()
        writes.write(b"head")
        assert not transport.done
        await asyncio.sleep(0)
        return list(transport.done)

    assert asyncio.run(run()) == [b"head"]


def test_short_responses_arrive_in_one_piece(api: Api) -> None:
    address = urlsplit(api.emulator.base_url)
    with socket.create_connection((address.hostname, address.port), timeout=30) as sock:
        for _ in range(3):
            sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            head, end, body = sock.recv(65536).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200")
            assert end
            assert body
