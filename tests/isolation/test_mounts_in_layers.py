"""Sandboxes in a user namespace where something is mounted in the host's directories, as in a container."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Callable

import pytest
from levels import Served, need
from setup_commands import SET_UPS, YES

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount for another program")

#: All that is in the sandbox's /etc, apart from what names the sandbox.
_LIST = (
    "cd /etc && find . -mindepth 1 -type d -printf '%p %m\\n' -o -mindepth 1 -printf '%p %y %m %s %l\\n'"
    " | grep -v '^./host' | LC_ALL=C sort"
)


def mounting(*paths: str) -> list[str]:
    """Return the words before a command that mount something on each path."""
    return [sys.executable, str(Path(__file__).parents[1] / "tools" / "with_mounts.py"), *paths, "--"]


@pytest.fixture(scope="module", params=["namespace-user", "bwrap"])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """An emulator where something is mounted on a file in /etc, and on one in a directory of it."""
    need(request.param)
    inner = next(path for path in ("/etc/security/limits.conf", "/etc/ld.so.conf") if os.path.exists(path))
    one = Served(tmp_path_factory.mktemp("served"), request.param, prepare=mounting("/etc/hosts", inner))
    yield one
    one.stop()


def test_root_is_copy_on_write_where_something_is_mounted_in_etc(served: Served) -> None:
    with served.sandbox() as box:
        assert "copy-on-write root" in served.client.sandboxes.logs(box)[0].message
        for row in SET_UPS:
            if row.can_be_tested and row.expected(served.level, is_root=True, is_mapped=False) == YES:
                result = served.client.sandboxes.exec(box, row.command)
                assert result.exit_code == 0, (row.says, result.output)


def test_etc_is_the_same_whether_something_is_mounted_in_it_or_not(
    served: Served, emulators: Callable[[str], Served]
) -> None:
    plain = emulators(served.level)
    with served.sandbox() as box, plain.sandbox() as other:
        here, there = served.run(box, _LIST).splitlines(), plain.run(other, _LIST).splitlines()
        assert len(there) > 50
        assert set(here) ^ set(there) == set()


def test_snapshot_restores_etc_where_something_is_mounted_in_it(served: Served) -> None:
    with served.sandbox() as box:
        change = "rm -r /etc/profile.d; echo kept > /etc/kept; echo kept >> /etc/profile"
        served.run(box, change)
        before = served.run(box, f"{_LIST}; cat /etc/kept /etc/profile")
        snapshot = served.client.snapshots.create(box)
        served.client.snapshots.wait(snapshot.id)
        served.run(box, "rm /etc/kept /etc/profile; mkdir /etc/profile.d")
        served.client.snapshots.restore(snapshot.id, box)
        assert served.run(box, f"{_LIST}; cat /etc/kept /etc/profile") == before
        assert "./profile.d 755" not in before
        assert "kept\n" in before


def test_log_names_the_mount_that_prevents_overlays(tmp_path: Path) -> None:
    need("namespace-user")
    tmp_path.chmod(0o755)
    one = Served(tmp_path, "namespace-user", "--verbose", prepare=mounting("/usr/share"))
    try:
        with one.sandbox() as box:
            assert "partly writable" in one.client.sandboxes.logs(box)[0].message
    finally:
        output = one.stop()
    assert "something is mounted below /usr (/usr/share)" in output
    assert "start the emulator where nothing is mounted below /usr, or run the emulator as root" in output
