"""Descriptors that the kernel does not pass on for a while, because too many of the user's are on their way, cost
neither a sandbox nor the zygote."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable

import pytest
from emulator_testing import Api, eventually

from caged.emulator import Emulator
from caged.emulator.cage.inside import frames


class Refusals:
    """Refuses the descriptors of this process's emulators, as the kernel does, while `active`."""

    def __init__(self, send_some: Callable[..., int]) -> None:
        self._send_some = send_some
        self.active = False
        self.count = 0

    def __call__(self, sock: Any, data: bytes, fds: Any = ()) -> int:
        if self.active and fds:
            self.count += 1
            raise OSError(errno.ETOOMANYREFS, os.strerror(errno.ETOOMANYREFS))
        return self._send_some(sock, data, fds)


@pytest.fixture
def refusals(monkeypatch: pytest.MonkeyPatch) -> Iterator[Refusals]:
    refusals = Refusals(frames.send_some)
    monkeypatch.setattr(frames, "send_some", refusals)
    yield refusals
    refusals.active = False


@pytest.fixture
def emulator(own_emulator: Callable[..., Emulator]) -> Emulator:
    """One of its own, so that no sandbox is ready when the test creates one."""
    return own_emulator(isolation="process", allow_unused=True)


def test_calls_wait_while_descriptors_are_refused(api: Api, box: str, refusals: Refusals) -> None:
    other = api.sandbox()
    with ThreadPoolExecutor() as threads:
        refusals.active = True
        running = [threads.submit(api.output, each, "echo on") for each in (box, other) for _ in range(2)]
        created = threads.submit(api.sandbox)
        eventually(lambda: refusals.count > 20, "attempts to send")
        assert not any(call.done() for call in (*running, created))
        refusals.active = False
        assert [call.result() for call in running] == ["on\n"] * 4
        assert api.output(created.result(), "echo on") == "on\n"


def test_calls_fail_with_reason_when_descriptors_are_refused_for_long(
    api: Api, box: str, refusals: Refusals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frames, "REFUSED_SECONDS", 0.1)
    refusals.active = True
    with ThreadPoolExecutor() as threads:
        results = [call.result() for call in [threads.submit(api.run, box, "echo on") for _ in range(3)]]
    for result in results:
        assert "the kernel has passed no descriptor on for 0.1 s" in result["error"]
    created = api.post("/sandboxes", json={"template": "minimal"}).json()
    assert created["status"] == "error"
    assert "the kernel has passed no descriptor on for 0.1 s" in api.log_text(created["id"])
    refusals.active = False
    assert api.status(box) == "running"
    assert api.output(box, "echo on") == "on\n"
    assert api.output(api.sandbox(), "echo on") == "on\n"
