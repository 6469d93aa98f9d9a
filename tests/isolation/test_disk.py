"""disk_gb: the kernel limits the size of each file, and the emulator measures the total."""

from __future__ import annotations

from caged.emulator import Emulator
from caged.emulator.platform.scheduler import DISK_INTERVAL


def test_file_larger_than_disk_is_refused() -> None:
    with Emulator() as emulator, emulator.client() as client:
        box = client.sandboxes.create(disk_gb=1)
        result = client.sandboxes.exec(box.id, "truncate -s 2G big; echo $?; head -c 10 /dev/zero > small && echo fine")
        assert "fine\n" in result.output
        assert not result.output.startswith("0\n")
        assert client.files.list(box.id)[0].size <= 1024**3


def test_sandbox_over_its_disk_logs_it() -> None:
    with Emulator() as emulator, emulator.client() as client:
        box = client.sandboxes.create(disk_gb=1)
        # Two files that really use their space on the disk, without writing a gigabyte.
        assert client.sandboxes.exec(box.id, "fallocate -l 520M a && fallocate -l 520M b").ok
        emulator.clock.advance(DISK_INTERVAL + 1)  # the size may have been measured just before the write
        lines = [entry.message for entry in client.sandboxes.logs(box.id)]
        assert [line for line in lines if "GB on disk, disk_gb is 1" in line], lines
