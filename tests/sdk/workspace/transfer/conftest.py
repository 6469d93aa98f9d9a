"""Fixtures of the tests of transfers: a directory to send, and a path of the test's own in one sandbox or another."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Any, Callable

import pytest
from levels import Served
from transfer_testing import DIFFICULT, LONG
from workspace_testing import Places

_numbers = itertools.count()


@pytest.fixture
def make_folder() -> Callable[[Any], str]:
    """Makes the path of a test in a sandbox; see `folder`."""
    return new_path


def new_path(box: Any) -> str:
    """Return a path, and remove what the test before has left at its own."""
    removed = box.exec("rm -rf transfer-*")
    assert removed.ok, removed.output
    return f"/workspace/transfer-{next(_numbers)}"


@pytest.fixture
def served_process(places: Places) -> Served:
    """The emulator of `process_box`."""
    return places.served("process-sync")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A directory with a bit of everything."""
    root = tmp_path / "tree"
    files = {
        "a": b"1",
        "empty": b"",
        ".hidden/.h": bytes(range(256)),
        f"{DIFFICULT}/{DIFFICULT}": b"difficult",
        f"{LONG}/{LONG}/{LONG}": b"long",
        "tmp/root/workspace": b"names of directories that an emulator may rewrite",
        "sub/script": b"#!/bin/sh\n",
    }
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    (root / "no entries").mkdir(mode=0o711)
    (root / "sub" / "link").symlink_to("../a")
    (root / "sub" / "directory").symlink_to("../.hidden")
    (root / "dangling").symlink_to(f"sub/{LONG[:150]}")
    os.link(root / "a", root / "hard")
    (root / "sub" / "script").chmod(0o751)
    (root / "sub").chmod(0o750)
    os.utime(root / "a", (1e9, 1e9))
    os.utime(root / "sub", (1.1e9, 1.1e9))
    return root
