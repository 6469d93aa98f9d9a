"""An emulator with a state directory is killed: each answered change is there, any other is complete or absent."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Optional

import httpx
import pytest
from kills import Kills
from leftovers import processes_with, run_dirs, until
from levels import Served, need


@pytest.fixture
def level(request: pytest.FixtureRequest) -> str:
    """What is recorded, and when, is the same at each level; a test of more names the levels."""
    level = getattr(request, "param", "namespace")
    need(level)
    return str(level)


class Killed:
    """A state directory and the emulator that currently uses it."""

    def __init__(self, folder: Path, level: str) -> None:
        self.state = folder / "state"
        self._folder = folder
        self._level = level
        self.served: Optional[Served] = None

    def start(self) -> Served:
        self.served = Served(self._folder, self._level, "--state-dir", str(self.state), run_base=self.state)
        return self.served

    def kill(self) -> None:
        assert self.served is not None
        self.served.process.kill()
        self.served.end()

    def http(self) -> httpx.Client:
        assert self.served is not None
        headers = {"Authorization": f"Bearer {self.served.api_key}"}
        return httpx.Client(base_url=self.served.base_url, headers=headers, timeout=60, trust_env=False, verify=False)


@pytest.fixture
def killed(tmp_path: Path, level: str) -> Iterator[Killed]:
    killed = Killed(tmp_path, level)
    yield killed
    if killed.served is not None:
        killed.served.end()
        until(lambda: not processes_with(str(killed.state)))


# About a second for each round: two starts of an emulator, some load, and a check of everything.
# scripts/kills runs any number of rounds.
def test_answered_writes_survive_kill_at_random_moment(tmp_path: Path, level: str) -> None:
    seed = random.randrange(10**6)
    kills = Kills(tmp_path, level, random.Random(seed))
    for _ in range(2):
        kills.round(calls=20)
    assert kills.problems == [], f"seed {seed}"
    assert kills.answered > 20
    assert kills.checked > 50


def test_snapshot_interrupted_by_kill_is_failed(killed: Killed) -> None:
    served = killed.start()
    box = served.client.sandboxes.create().id
    served.run(box, "truncate -s 500M large")  # packing takes longer than the time to the kill
    taken = served.client.snapshots.create(box, name="cut")
    assert taken.status == "pending"
    killed.kill()
    served = killed.start()
    (found,) = served.client.snapshots.list(box)
    assert (found.id, found.status) == (taken.id, "failed")
    said = [line.message for line in served.client.sandboxes.logs(box)]
    assert any(f"({taken.id}) failed: the emulator was killed" in line for line in said), said
    assert list((killed.state / "snapshots").iterdir()) == []


@pytest.mark.parametrize(
    ("level", "moment"),
    [("namespace", "restore-new"), ("namespace", "restore-out"), ("process", "restore-out")],
    indirect=["level"],
)
def test_restore_interrupted_by_kill_is_finished_or_undone(killed: Killed, level: str, moment: str) -> None:
    served = killed.start()
    box = served.client.sandboxes.create().id
    # At level `process`, /etc would be the host's.
    places = "/workspace /root /tmp" + (" /etc/kept /app" if level == "namespace" else "")
    fill = f"for place in {places}; do mkdir -p $place; for n in $(seq 700); do echo %s > $place/$n; done; done"
    served.run(box, fill % "old")
    snapshot = served.client.snapshots.wait(served.client.snapshots.create(box).id)
    served.run(box, fill % "new" + "; touch /workspace/more")
    directory = killed.state / "sandboxes" / box

    def restore() -> None:
        with killed.http() as http:
            try:
                http.post(f"/v1/snapshots/{snapshot.id}/restore", json={"target_sandbox_id": box})
            except httpx.HTTPError:
                pass

    restoring = threading.Thread(target=restore)
    restoring.start()
    until(lambda: (directory / moment).exists() or not restoring.is_alive())
    killed.kill()
    restoring.join(60)
    served = killed.start()
    served.client.sandboxes.resume(box)
    seen = served.run(box, f"for place in {places}; do cat $place/[0-9]* | sort | uniq -c; done").split()
    number = len(places.split())
    assert seen in (["700", "old"] * number, ["700", "new"] * number)
    assert served.run(box, "ls /workspace | grep -c more; true") == ("0\n" if seen[1] == "old" else "1\n")
    assert not [path.name for path in directory.iterdir() if path.name.startswith("restore")]


def test_sandbox_whose_create_was_interrupted_by_kill_is_removed(killed: Killed) -> None:
    served = killed.start()
    body = {"template": "minimal", "init_script": "touch /workspace/begun; sleep 600"}
    failures: list[Any] = []

    def create() -> None:
        with killed.http() as http:
            try:
                failures.append(http.post("/v1/sandboxes", json=body))
            except httpx.HTTPError as error:
                failures.append(error)

    asking = threading.Thread(target=create)
    asking.start()
    until(lambda: list(killed.state.glob("sandboxes/*/workspace/begun")))
    # The commit of another response also saves the record of the unfinished sandbox.
    kept = served.client.sandboxes.create().id
    killed.kill()
    asking.join(60)
    assert isinstance(failures[0], httpx.HTTPError)
    served = killed.start()
    assert [box.id for box in served.client.sandboxes.list()] == [kept]
    assert [path.name for path in (killed.state / "sandboxes").iterdir()] == [kept]


@pytest.mark.parametrize("level", ["namespace", "process"], indirect=True)
def test_start_waits_for_end_of_processes_of_killed_emulator(killed: Killed) -> None:
    served = killed.start()
    box = served.client.sandboxes.create().id
    served.run(box, "(while :; do echo x >> /workspace/grows; done) > /dev/null 2>&1 & true")
    killed.kill()
    served = killed.start()
    grown = (killed.state / "sandboxes" / box / "workspace" / "grows").stat().st_size
    assert grown > 0
    assert len(run_dirs(killed.state)) == 1
    served.client.sandboxes.resume(box)
    assert int(served.run(box, "wc -c < grows")) == grown


def test_cost_of_running_sandbox_counts_until_kill(killed: Killed) -> None:
    served = killed.start()
    box = served.client.sandboxes.create(cpus=8, memory_mb=8192, disk_gb=50).id
    until(lambda: served.client.sandboxes.get(box).cost > 0.00004)
    reported = served.client.sandboxes.get(box).cost
    killed.kill()
    served = killed.start()
    found = served.client.sandboxes.get(box)
    assert found.status == "stopped"
    # 8 cores cost 0.00005 USD a second; on an idle machine the last heartbeat is at most a quarter of a second old.
    assert 0 < found.cost <= reported + 0.00001
