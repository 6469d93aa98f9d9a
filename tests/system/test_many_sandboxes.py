"""Many creates and destroys leave nothing: no descriptor, process, mount, directory, thread or memory.

CAGED_TEST_CREATES: their number; CI takes fewer than the thousand that a release is tried with.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from leftovers import children_of, mounts, until
from levels import Served, need

from caged.emulator import RemoteEmulator, workers
from caged.emulator.cage import pool

CREATES = int(os.environ.get("CAGED_TEST_CREATES", "20"))
#: A sandbox that is not removed has at least a process and a directory, and its records take some ten KiB. What Python
#: and the allocator keep does not grow with the number of creates.
GROWN_KIB = 16 * 1024
#: What a ready-made sandbox has, by level: the emulator's descriptors of its control socket and of its root directory
#: (without namespaces there is none), and its init.
READY = {
    "namespace": {"descriptors": 2, "processes": 1, "children of the zygote": 1},
    "process": {"descriptors": 1, "processes": 1, "children of the zygote": 1},
}
#: Threads that one account may have, which stay for a while when they are idle: fewer than CREATES.
THREADS = sum(share for _threads, share in workers.THREADS.values())


@pytest.fixture(params=["namespace", "process"])
def served(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Served]:
    need(request.param)
    served = Served(tmp_path, request.param)
    yield served
    served.end()


def churn(served: Served, creates: int) -> None:
    """Create and destroy sandboxes as an account of its own, whose journal goes with it."""
    with (
        RemoteEmulator(served.base_url, served.admin_key) as remote,
        remote.account() as account,
        remote.client(account.api_key) as client,
    ):
        for number in range(creates):
            box = client.sandboxes.create().id
            if number % 3 == 0:
                assert client.sandboxes.exec(box, "mkdir d && echo $$ > d/f && cat d/f").exit_code == 0
            client.sandboxes.destroy(box)


def resident_kib(pid: int) -> int:
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.partition("VmRSS:")[2].split()[0])


def left(served: Served) -> dict[str, Any]:
    """Count what there is of the emulator, without what is ready for the next create: how many those are depends on how
    fast the creates were. While one is made or removed, the counts are too high or too low."""
    pid = served.process.pid
    counts = {
        "descriptors": len(os.listdir(f"/proc/{pid}/fd")),
        "processes": len(served.ours()),
        "children of the zygote": len(children_of(served.zygote)),
        "threads": len(os.listdir(f"/proc/{pid}/task")),
        "mounts": len(mounts()),
    }
    of_ready = READY[served.level]
    names = [path.name for path in served.run_dir.iterdir()]
    ready = sum(name.startswith("ready-") for name in names)
    return {
        **{name: count - ready * of_ready.get(name, 0) for name, count in counts.items()},
        "directories": sorted(name for name in names if not name.startswith("ready-")),
        "sandboxes": os.listdir(served.run_dir / "sandboxes"),
    }


def settled(served: Served) -> dict[str, Any]:
    """Return `left` once it has not changed for a while, in which a ready-made sandbox would have been made."""
    last = left(served)
    since = time.monotonic()

    def has_settled() -> bool:
        nonlocal last, since
        now = left(served)
        if now != last:
            last, since = now, time.monotonic()
        return now["sandboxes"] == [] and time.monotonic() - since > 2 * pool.LONGEST_DELAY

    until(has_settled, what=lambda: left(served))
    return last


def test_many_creates_and_destroys_leave_nothing(served: Served) -> None:
    assert CREATES > THREADS
    churn(served, max(12, CREATES // 3))  # now sandboxes are made in advance
    before, memory = settled(served), resident_kib(served.process.pid)
    churn(served, CREATES)
    until(lambda: os.listdir(served.run_dir / "sandboxes") == [])
    assert resident_kib(served.process.pid) - memory < GROWN_KIB

    def is_as_before() -> bool:
        """Idle threads and connections may have ended, and others of the threads may have been needed."""
        now = left(served)
        now["threads"] -= THREADS
        return all(
            now[name] <= count if isinstance(count, int) else now[name] == count for name, count in before.items()
        )

    # Before the ready-made ones are removed because they are idle: what they have must be known here, not waited for.
    until(is_as_before, pool.IDLE_SECONDS / 2, lambda: (before, left(served)))
