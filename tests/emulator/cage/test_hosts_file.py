"""Replacing the host name in a sandbox's copy of /etc/hosts."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from caged.emulator.cage import hosts_file


def test_rename_replaces_a_read_only_file_with_its_mode_and_times(tmp_path: Path) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1 localhost\n127.0.1.1 mine\n127.0.1.1 cage_old1\n")
    os.chmod(hosts, 0o444)
    os.utime(hosts, ns=(10**18, 10**18))
    hosts_file.rename(tmp_path, "cage_new1")
    assert hosts.read_text() == "127.0.0.1 localhost\n127.0.1.1 mine\n127.0.1.1 cage_new1\n"
    assert (stat.S_IMODE(hosts.stat().st_mode), hosts.stat().st_mtime_ns) == (0o444, 10**18)
    assert os.listdir(tmp_path) == ["hosts"]


def test_rename_leaves_large_files_and_links_alone(tmp_path: Path) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.1.1 cage_a\n")
    os.truncate(hosts, hosts_file.MOST_BYTES + 1)
    hosts_file.rename(tmp_path, "cage_new1")
    with open(hosts, "rb") as file:
        assert file.read(17) == b"127.0.1.1 cage_a\n"
    hosts.rename(tmp_path / "target")
    os.truncate(tmp_path / "target", 17)
    hosts.symlink_to("target")
    hosts_file.rename(tmp_path, "cage_new1")
    assert (tmp_path / "target").read_text() == "127.0.1.1 cage_a\n"


def test_rename_without_a_file_does_nothing(tmp_path: Path) -> None:
    hosts_file.rename(tmp_path, "cage_new1")
    assert os.listdir(tmp_path) == []
