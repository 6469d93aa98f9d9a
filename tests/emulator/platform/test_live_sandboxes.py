"""The live part of a sandbox: one for each, kept until it is dropped."""

from __future__ import annotations

import asyncio
import gc

from caged.emulator.platform.live_sandboxes import LiveSandboxes
from caged.emulator.store import Sandbox


def sandbox(name: str, status: str = "running") -> Sandbox:
    return Sandbox(name, "acct_1", "minimal", 1, 128, 1, "full", 60, "2026-01-01T00:00:00Z", status=status)


def run(test):
    async def on_a_loop():
        test(LiveSandboxes())

    asyncio.run(on_a_loop())


def test_each_sandbox_has_one_of_its_own():
    def test(live):
        one, other = sandbox("cage_1"), sandbox("cage_2")
        assert live.of(one) is live.of(one)
        assert live.of(one) is not live.of(other)
        assert len(live) == 2

    run(test)


def test_a_dropped_sandbox_is_not_found_but_usable_for_calls_in_progress():
    def test(live):
        one = sandbox("cage_1")
        held = live.of(one)
        one.status = "destroyed"
        held.gone.set()
        live.drop(one)
        assert len(live) == 0
        assert held.gone.is_set()

    run(test)


def test_a_late_look_at_a_destroyed_sandbox_finds_it_gone_and_leaves_nothing():
    def test(live):
        one = sandbox("cage_1", "destroyed")
        assert live.of(one).gone.is_set()
        assert live.of(one).cage is None
        del one
        gc.collect()
        assert len(live) == 0

    run(test)
