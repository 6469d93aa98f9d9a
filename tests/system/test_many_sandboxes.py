"""Many creates and destroys leave nothing: no descriptor, process, mount, directory, thread or memory.

CAGED_TEST_CREATES: their number; CI takes fewer than the thousand that a release is tried with.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from leftovers import children_of, mounts, until
from levels import Served, need

from caged.emulator import RemoteEmulator

CREATES = int(os.environ.get("CAGED_TEST_CREATES", "20"))
#: A sandbox that is not removed has at least a process and a directory, and its records take some ten KiB. What Python
#: and the allocator keep does not grow with the number of creates.
GROWN_KIB = 16 * 1024


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
    """What there is of the emulator, without what is ready for the next create."""
    pid = served.process.pid
    return {
        "descriptors": len(os.listdir(f"/proc/{pid}/fd")),
        "processes": len(served.ours()),
        "children of the zygote": len(children_of(served.zygote)),
        "threads": len(os.listdir(f"/proc/{pid}/task")),
        "directories": sorted(path.name for path in served.run_dir.iterdir() if not path.name.startswith("ready-")),
        "sandboxes": os.listdir(served.run_dir / "sandboxes"),
        "mounts": len(mounts()),
    }


def ready(served: Served) -> int:
    return len(list(served.run_dir.glob("ready-*")))


def test_many_creates_and_destroys_leave_nothing(served: Served) -> None:
    churn(served, max(12, CREATES // 3))  # now there are all threads, and sandboxes are made in advance
    until(lambda: os.listdir(served.run_dir / "sandboxes") == [])
    before, memory, were_ready = left(served), resident_kib(served.process.pid), ready(served)
    churn(served, CREATES)
    until(lambda: os.listdir(served.run_dir / "sandboxes") == [])
    assert resident_kib(served.process.pid) - memory < GROWN_KIB

    def is_as_before() -> bool:
        """There may be more or fewer ready ones, each with a descriptor and a process. Idle threads and connections may
        have ended."""
        now, more = left(served), max(0, ready(served) - were_ready)
        return all(
            now[name] <= count + more if isinstance(count, int) else now[name] == count
            for name, count in before.items()
        )

    until(is_as_before, what=lambda: (before, left(served), were_ready, ready(served)))
