"""Copying trees that hold whiteouts, hard links and special files."""

from __future__ import annotations

import ctypes
import os
import stat
import sys
import threading
import time
from pathlib import Path

import pytest

from caged.emulator.cage.tree_copy import copy_tree


def _link_twice(first: Path) -> None:
    for number in (2, 3):
        os.link(first, first.with_name(f"{first.name}-{number}"))


def test_hard_linked_pipes_are_left_out(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    os.mkfifo(source / "pipe")
    _link_twice(source / "pipe")
    (source / "file").write_text("content")
    _link_twice(source / "file")
    copy_tree(str(source), str(tmp_path / "copy"))
    assert sorted(os.listdir(tmp_path / "copy")) == ["file", "file-2", "file-3"]
    assert (tmp_path / "copy/file").stat().st_nlink == 3


def test_pipes_are_copied_on_request_and_sockets_are_not(tmp_path: Path) -> None:
    source, copy = tmp_path / "source", tmp_path / "copy"
    source.mkdir()
    os.mkfifo(source / "pipe")
    (source / "pipe").chmod(0o620)
    _link_twice(source / "pipe")
    os.mknod(source / "socket", stat.S_IFSOCK | 0o600)  # a path may be too long for `bind`
    copy_tree(str(source), str(copy), keep_pipes=True)
    assert sorted(os.listdir(copy)) == ["pipe", "pipe-2", "pipe-3"]
    copied = (copy / "pipe").lstat()
    assert (stat.filemode(copied.st_mode), copied.st_nlink) == ("prw--w----", 3)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has overlays")
def test_whiteouts_that_share_an_inode_are_copied_unless_the_copy_is_lowest(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    try:
        os.mknod(source / "gone", stat.S_IFCHR | 0o600, os.makedev(0, 0))
    except PermissionError:
        pytest.skip("this user may not make whiteouts")
    _link_twice(source / "gone")
    copy_tree(str(source), str(tmp_path / "lowest"), is_lowest=True)
    assert os.listdir(tmp_path / "lowest") == []
    copy_tree(str(source), str(tmp_path / "upper"))
    assert sorted(os.listdir(tmp_path / "upper")) == ["gone", "gone-2", "gone-3"]
    assert (tmp_path / "upper/gone-3").lstat().st_rdev == os.makedev(0, 0)


@pytest.mark.skipif(sys.platform != "linux", reason="exchanging two names in one step")
def test_directory_that_is_exchanged_for_link_is_not_followed(tmp_path: Path) -> None:
    host, source = tmp_path / "host", tmp_path / "source"
    (host / "below").mkdir(parents=True)
    (host / "below/key").write_text("the host's")
    (source / "inner/below").mkdir(parents=True)
    (source / "inner/below/key").write_text("the sandbox's")
    place, link = source / "inner", source / "link"
    link.symlink_to(host)
    libc, is_over = ctypes.CDLL(None), threading.Event()

    def exchange() -> None:
        while not is_over.is_set():
            libc.renameat2(-100, os.fsencode(place), -100, os.fsencode(link), 2)

    swapping = threading.Thread(target=exchange)
    swapping.start()
    try:
        seen = set()
        until = time.monotonic() + 0.7
        for number in range(1_000_000):
            copy = tmp_path / f"copy-{number}"
            try:
                copy_tree(str(source), str(copy))
            except OSError:
                pass
            files = (path for top in copy.iterdir() if not top.is_symlink() for path in top.glob("below/key"))
            seen |= {path.read_text() for path in files if not path.is_symlink()}
            if time.monotonic() > until or "the host's" in seen:
                break
    finally:
        is_over.set()
        swapping.join()
    assert seen <= {"the sandbox's", ""}
