"""Fixtures of the SDK's tests: both clients for each behaviour, and a clock that needs no waiting."""

import asyncio

import pytest
from sdk_driver import Clock, Driver
from socket_driver import SocketDriver

from caged import _timing
from caged.emulator import Emulator


@pytest.fixture(params=["sync", "async"])
def driver(request):
    """Runs one snippet with `Caged`, then with `AsyncCaged`."""
    return Driver(request.param)


@pytest.fixture(params=["sync", "async"])
def sockets(request):
    """Opens sockets with `Caged`, then with `AsyncCaged`."""
    return SocketDriver(request.param)


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """Sleeping is recorded and moves this clock on; nothing really sleeps."""
    clock = Clock()
    monkeypatch.setattr(_timing, "sleep", clock.sleep)
    monkeypatch.setattr(_timing, "sleep_async", clock.sleep_async)
    monkeypatch.setattr(_timing, "now", lambda: clock.time)
    return clock


@pytest.fixture(autouse=True)
def _no_settings_of_the_machine(monkeypatch):
    for name in ("CAGED_API_KEY", "CAGED_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def emulator():
    with Emulator(isolation="process", allow_unused=True) as running:
        yield running


@pytest.fixture(scope="module")
def sandbox_id(emulator):
    with emulator.client() as client:
        made = client.sandboxes.create(env={"GREETING": "hello"}).id
        yield made
        client.sandboxes.destroy(made)


@pytest.fixture(params=["sync", "async"])
def on(request, emulator):
    """Runs a coroutine function of a client of the emulator, of either kind (the attribute `kind`)."""

    def run(use):
        async def main():
            if request.param == "sync":
                with emulator.client() as client:
                    return await asyncio.wait_for(use(client), 20)
            async with emulator.async_client() as client:
                return await asyncio.wait_for(use(client), 20)

        return asyncio.run(main())

    run.kind = request.param
    return run
