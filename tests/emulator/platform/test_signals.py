"""Listeners receive signals of the running emulator."""

import os
import signal

import pytest
from emulator_testing import eventually, init_of
from internals import platform_of

from caged.emulator.control.clock import Clock
from caged.emulator.emulator_log import EmulatorLog
from caged.emulator.platform.signals import SIGNALS, Signals


@pytest.fixture
def heard(timed):
    """Every signal of the emulator of `timed`, as (name, data)."""
    found = []
    signals = platform_of(timed[0].emulator).signals
    for name in SIGNALS:
        signals.connect(name, lambda _name=name, **data: found.append((_name, data)))
    return found


def of(heard, name):
    return [data for found, data in heard if found == name]


def test_signal_is_sent_at_80_95_and_100_percent_of_the_budget(timed, heard):
    api, clock = timed
    box = api.sandbox(budget=0.0275, timeout=10_000)
    for seconds in (2900, 2990, 3500, 3700):
        clock.advance(seconds - clock.offset)
    reported = of(heard, "budget_mark")
    assert [data["percent"] for data in reported] == [80, 95, 100]
    assert {data["sandbox"].id for data in reported} == {box}
    assert reported[-1]["spent"] >= 0.0275


def test_signal_of_the_idle_timeout_is_sent_once(timed, heard):
    api, clock = timed
    box = api.sandbox(timeout=60)
    clock.advance(61)
    clock.advance(61)
    assert [data["sandbox"].id for data in of(heard, "idle_timeout")] == [box]


def test_pause_by_a_request_is_not_an_idle_timeout(timed, heard):
    api, clock = timed
    api.post(f"/sandboxes/{api.sandbox(timeout=60)}/pause")
    clock.advance(61)
    assert of(heard, "idle_timeout") == []


def test_signal_of_a_failed_create_has_secrets_masked(timed, heard):
    api, _clock = timed
    fields = {"template": "minimal", "env": {"T": "hush-hush"}, "secrets": ["T"], "init_script": "echo $T; exit 3"}
    box = api.post("/sandboxes", json=fields).json()
    assert box["status"] == "error"
    (data,) = of(heard, "sandbox_error")
    assert data["sandbox"].id == box["id"]
    assert "exit code 3" in data["reason"]
    assert "***" in data["reason"]
    assert "hush" not in data["reason"]


def test_signal_is_sent_when_a_sandbox_is_killed_from_outside(timed, heard):
    api, _clock = timed
    box = api.sandbox()
    os.kill(init_of(api.emulator, box), signal.SIGKILL)
    eventually(lambda: of(heard, "sandbox_error"), "the emulator to see it")
    assert api.status(box) == "error"
    assert len(of(heard, "sandbox_error")) == 1


def test_a_listener_that_fails_is_logged_and_the_others_are_called():
    received = []
    signals = Signals()
    signals.connect("idle_timeout", lambda sandbox: 1 / 0)
    signals.connect("idle_timeout", lambda sandbox: received.append(sandbox))
    log = EmulatorLog(Clock())
    try:
        with log.selected():
            signals.send("idle_timeout", sandbox="box")
    finally:
        log.detach()
    assert received == ["box"]
    assert "ZeroDivisionError" in log.tail(1)[0]


def test_an_unknown_signal_or_other_data_is_a_mistake_of_the_sender():
    signals = Signals()
    with pytest.raises(KeyError):
        signals.connect("nothing", print)
    with pytest.raises(TypeError, match="sandbox, reason"):
        signals.send("sandbox_error", sandbox=None)
