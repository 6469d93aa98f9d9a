"""Fixtures of the SDK's tests: both clients for each behaviour, and a clock that nobody waits for."""

import pytest
from sdk_driver import Clock, Driver
from socket_driver import SocketDriver

from caged import _timing


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
