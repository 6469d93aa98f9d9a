"""Agents, snapshots, forks and diffs of a bound sandbox in each place: their other tests run at one level."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from workspace_testing import APPLETS, Places, new_sandbox

from caged.emulator import RemoteEmulator


@pytest.fixture
def agent_box(places: Places, place: str) -> Iterator[Any]:
    """A sandbox of the test's own, with an agent."""
    level, _, kind = place.partition("-")
    served = places.served(place)
    with new_sandbox(served, level == "busybox", agents=["claude"]) as sandbox_id:
        if level == "busybox":  # PATH has its directory alone
            served.run(sandbox_id, f"ln -s /opt/caged/bin/claude {APPLETS}/claude")
        yield places.bind(place, sandbox_id, kind)


@pytest.mark.parametrize("place", ["namespace-sync", "bwrap-async", "process-sync", "busybox-async"], indirect=True)
def test_agent_snapshot_restore_diff_and_fork_work(agent_box: Any, places: Places, place: str) -> None:
    box, served = agent_box, places.served(place)
    served.run(box.id, "PATH=/usr/bin:/bin git init -q tree")
    with RemoteEmulator(served.base_url, served.admin_key) as emulator:
        with emulator.agent("claude").reply("Done.", files={"tree/state": "then"}, cost_usd=0.25, times=1):
            reply = box.agent("claude").ask("Write it")
    assert (reply.text, reply.cost) == ("Done.", 0.25)
    assert [(file.path, file.status) for file in box.diff("/workspace/tree").files] == [("state", "untracked")]

    snapshot = box.snapshot("then")
    box.write("tree/state", "now")
    box.restore(snapshot)
    assert box.read_text("tree/state") == "then"

    (fork,) = box.fork()
    try:
        fork.write("tree/state", "in the fork")
        assert fork.read_text("tree/state") == "in the fork"
        assert box.read_text("tree/state") == "then"
    finally:
        fork.destroy()
