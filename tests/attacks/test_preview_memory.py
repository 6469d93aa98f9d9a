"""A server in a sandbox cannot make the emulator buffer more of a WebSocket message than the limit (Guard 10)."""

from __future__ import annotations

import asyncio

import pytest
from net_testing import RawSite, emulator, resident_mib, site
from websockets.asyncio.client import connect as open_socket
from websockets.exceptions import ConnectionClosed

from caged.emulator.wire.preview_socket import MESSAGE_BYTES

MIB = 1024 * 1024
TEXT, BINARY, CONTINUED, PING = 1, 2, 0, 9
#: Memory that may be used besides one message: pieces in transit, and the visitor's copy in this process.
SLACK_MIB = 3 * MESSAGE_BYTES / MIB + 40

#: (frames as raw_server.py takes them: opcode:fin:announced bytes:sent bytes, close code)
FLOODS = {
    "10 GB announced, 600 MB sent": ([(BINARY, 1, 10 * 1024 * MIB, 600 * MIB)], 1009),
    "10 GB of text announced": ([(TEXT, 1, 10 * 1024 * MIB, 600 * MIB)], 1009),
    "one byte over the limit": ([(BINARY, 1, MESSAGE_BYTES + 1, MESSAGE_BYTES + 1)], 1009),
    "fragments without an end": ([(BINARY, 0, MIB, MIB)] + [(CONTINUED, 0, MIB, MIB)] * 300, 1009),
    "2**63 announced": ([(BINARY, 1, 2**63 - 1, 300 * MIB)], 1009),
    "the last fragment is huge": ([(TEXT, 0, 10, 10), (CONTINUED, 1, 5 * 1024 * MIB, 300 * MIB)], 1009),
    "a ping of 300 MB": ([(PING, 1, 300 * MIB, 300 * MIB)], 1009),
    "a ping over 125 bytes": ([(PING, 1, 1000, 1000)], 1002),
    "a continuation of nothing": ([(CONTINUED, 1, 10, 10)], 1002),
}


def url_of(site: RawSite, frames: list[tuple[int, int, int, int]]) -> str:
    parts = ",".join(":".join(map(str, frame)) for frame in frames)
    return f"{site.url.replace('http://', 'ws://')}/flood/{parts}"


async def closed_with(url: str) -> tuple[int, float]:
    """Return (close code, MiB in use at the close)."""
    async with open_socket(url, proxy=None, max_size=None) as visitor:
        with pytest.raises(ConnectionClosed):
            await asyncio.wait_for(visitor.recv(), 20)
        return visitor.close_code or 0, resident_mib()


@pytest.mark.parametrize("shape", FLOODS)
def test_too_large_message_closes_connection(site: RawSite, shape: str) -> None:
    frames, code = FLOODS[shape]
    before = resident_mib()
    closed, after = asyncio.run(closed_with(url_of(site, frames)))
    assert closed == code
    assert after - before < SLACK_MIB


def test_message_of_maximum_size_is_forwarded(site: RawSite) -> None:
    async def receive() -> int:
        url = url_of(site, [(BINARY, 1, MESSAGE_BYTES, MESSAGE_BYTES)])
        async with open_socket(url, proxy=None, max_size=None) as visitor:
            return len(await asyncio.wait_for(visitor.recv(), 20))

    assert asyncio.run(receive()) == MESSAGE_BYTES


def test_messages_that_visitor_does_not_read_are_not_buffered(site: RawSite) -> None:
    """200 MiB in messages of 1 MiB to a visitor that reads none: the server has to wait."""

    async def wait() -> float:
        url = url_of(site, [(BINARY, 1, MIB, MIB)] * 200)
        async with open_socket(url, proxy=None, max_size=None, max_queue=1, close_timeout=0.1) as visitor:
            await asyncio.wait_for(visitor.recv(), 10)
            before = resident_mib()
            await asyncio.sleep(0.5)  # time for the messages to arrive; nothing signals that they do not
            return resident_mib() - before

    assert asyncio.run(wait()) < 60
