"""Two hundred broken connections later, the emulator has no task, no connection and no open file more."""

from __future__ import annotations

import asyncio
import os

import httpx
import pytest
from internals import call_on_loop
from leftovers import until
from sockets import open_socket
from websockets.exceptions import ConnectionClosed, InvalidMessage

DROPS = 200
HTTP = [{"drop": "before"}, {"drop": "after"}, {"drop": "mid-body"}, {"truncate": 3}]
SOCKET = [{"drop": "before"}, {"drop": "after"}, {"close_socket": 4000}, {"truncate": 0}]


def descriptors():
    return len(os.listdir("/proc/self/fd"))


def tasks(emulator):
    async def count():
        return len(asyncio.all_tasks())

    return call_on_loop(emulator, count())


def request(emulator, box):
    url = f"{emulator.base_url}/v1/sandboxes/{box}"
    headers = {"Authorization": f"Bearer {emulator.api_key}"}
    with httpx.Client(trust_env=False, headers=headers, verify=False) as raw, pytest.raises(httpx.TransportError):
        raw.get(url)


def download(emulator, url):
    with httpx.Client(trust_env=False, verify=False, timeout=60) as raw, pytest.raises(httpx.TransportError):
        raw.get(url)


def shake_hands(emulator, box):
    try:
        with open_socket(emulator.base_url, f"/sandboxes/{box}/mcp", emulator.api_key, "mcp") as socket:
            socket.send('{"jsonrpc":"2.0","id":1,"method":"ping"}')
            while True:
                socket.recv(timeout=60)
    except (ConnectionClosed, InvalidMessage, ConnectionError, EOFError):
        pass


def test_nothing_is_left_of_two_hundred_drops(own_emulator):
    emulator = own_emulator()
    with emulator.client() as client:
        box = client.sandboxes.create(template="minimal").id
        url = client.snapshots.download_url(client.snapshots.wait(client.snapshots.create(box).id).id)
        assert emulator.faults.list() == []  # its connection is open from here on
        before = tasks(emulator), descriptors()
        for number in range(DROPS // 4):
            with emulator.faults.add("sandboxes.get", **HTTP[number % 4]):
                request(emulator, box)
                request(emulator, box)
            with emulator.faults.add("snapshots.content", **HTTP[number % 4]):
                download(emulator, url)
            with emulator.faults.add("sandboxes.mcp", **SOCKET[number % 4]):
                shake_hands(emulator, box)
        until(
            lambda: tasks(emulator) <= before[0] and descriptors() <= before[1],
            what=lambda: f"tasks and descriptors: {before} before, {tasks(emulator), descriptors()} after",
        )
        triggered = sum(1 for entry in emulator.journal if entry.fault)
        assert triggered == DROPS
        assert client.sandboxes.exec(box, "echo fine").output == "fine\n"
        assert not [line for line in emulator.log_tail(1000) if "failed" in line or "Traceback" in line]
