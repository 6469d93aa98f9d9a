"""disk_gb: one file is held to it by the kernel, the whole is watched."""

from __future__ import annotations

from caged.emulator import Emulator
from caged.emulator.platform.scheduler import DISK_INTERVAL


def test_a_file_larger_than_the_disk_is_refused() -> None:
    with Emulator() as emulator, emulator.client() as client:
        box = client.sandboxes.create(disk_gb=1)
        result = client.sandboxes.exec(box.id, "truncate -s 2G big; echo $?; head -c 10 /dev/zero > small && echo fine")
        assert "fine\n" in result.output
        assert not result.output.startswith("0\n")
        assert client.files.list(box.id)[0].size <= 1024**3


def test_a_sandbox_over_its_disk_has_a_line_in_its_log() -> None:
    with Emulator() as emulator, emulator.client() as client:
        box = client.sandboxes.create(disk_gb=1)
        # Two files that really take their place on disk, without a gigabyte of writing.
        assert client.sandboxes.exec(box.id, "fallocate -l 700M a && fallocate -l 700M b").ok
        emulator.clock.advance(DISK_INTERVAL + 1)  # it may have been measured just before
        lines = [entry.message for entry in client.sandboxes.logs(box.id)]
        assert [line for line in lines if "GB on disk, disk_gb is 1" in line], lines
