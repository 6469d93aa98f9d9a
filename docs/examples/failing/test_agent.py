"""Tests that fail on purpose, each for a reason that a developer of agents runs into.

    pytest docs/examples/failing

docs/trace.md shows how the trace of each names its cause.
"""

from __future__ import annotations

import application
import pytest

from caged import Caged
from caged.emulator import BaseEmulator


def test_fault_that_never_triggers(caged: Caged, caged_emulator: BaseEmulator) -> None:
    """The application streams its tests, so a fault of `sandboxes.exec` does not reach them."""
    box = application.prepare(caged)
    caged_emulator.faults.add("sandboxes.exec", status=503)
    assert application.follow_tests(caged, box)


def test_wrong_command(caged: Caged) -> None:
    """The command is misspelt, and prints so."""
    box = application.prepare(caged)
    result = caged.sandboxes.exec(box.id, "git init -q . && git add . && git comit -m repaired")
    assert result.exit_code == 0


def test_agent_changes_the_wrong_file(caged: Caged, caged_emulator: BaseEmulator) -> None:
    """The agent says that it repaired the bug, and changes a copy of the file."""
    repaired = {"/workspace/src/calc.py": "def add(a, b):\n    return a + b\n"}
    caged_emulator.agent("claude").reply("I repaired add() in calc.py.", files=repaired, cost_usd=0.04)
    box = application.prepare(caged)
    application.repair(caged, box)
    assert application.check(caged, box)


def test_budget_is_used_up(caged: Caged, caged_emulator: BaseEmulator) -> None:
    """The prompt costs more than the sandbox may, so the sandbox is paused before the check."""
    caged_emulator.agent("claude").reply("I need more context.", tokens_out=40_000, cost_usd=0.75)
    box = application.prepare(caged, budget=0.5)
    application.repair(caged, box)
    caged_emulator.clock.tick()  # the platform looks at budgets now and then
    assert application.check(caged, box)


def test_command_takes_too_long(caged: Caged) -> None:
    """The command waits for a server that nothing has started."""
    box = application.prepare(caged)
    waiting = "echo waiting for the server; until test -e /workspace/server.pid; do sleep 0.05; done"
    caged.sandboxes.exec(box.id, waiting, timeout=0.8)


def test_stub_that_nearly_matches(caged: Caged, caged_emulator: BaseEmulator) -> None:
    """The application passes an option that the stub's pattern does not have, so the real npm is run."""
    caged_emulator.commands.stub("npm install", "added 42 packages")
    box = application.prepare(caged)
    assert application.install(caged, box) == 0


def test_sandbox_is_destroyed_by_the_application(caged: Caged) -> None:
    """The application returns an exit code alone, and destroys the sandbox in a `finally`."""
    assert application.build(caged) == 0


@pytest.fixture
def repaired(caged: Caged, caged_emulator: BaseEmulator) -> str:
    """A project that the agent has repaired."""
    caged_emulator.faults.add("files.write", status=500, times=1)
    return application.prepare(caged).id


def test_fault_in_a_fixture(repaired: str) -> None:
    """A fault that was meant for the test applies to its fixture already."""
    assert repaired
