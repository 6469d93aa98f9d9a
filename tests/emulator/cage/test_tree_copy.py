"""Copying trees that hold whiteouts, hard links and special files."""

from __future__ import annotations

import os
import stat
import sys
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
