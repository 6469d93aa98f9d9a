"""Measuring a tree."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from caged.emulator.cage import disk


def test_files_that_are_removed_meanwhile_do_not_hide_others(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    for number in range(300):
        (tmp_path / "kept" / f"{number}").write_bytes(b"x" * 4096)
    kept = disk.size(str(tmp_path))
    is_over = threading.Event()

    def make_and_remove() -> None:
        path = tmp_path / "kept" / "temporary"
        while not is_over.is_set():
            path.touch()
            path.unlink()

    changing = threading.Thread(target=make_and_remove)
    changing.start()
    try:
        assert min(disk.size(str(tmp_path)) for _ in range(200)) >= kept
    finally:
        is_over.set()
        changing.join()
    assert sorted(os.listdir(tmp_path)) == ["kept"]
