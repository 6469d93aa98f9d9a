"""Scans of a workspace and the changes between two of them: bounded, and without following links, also while the
workspace changes."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Optional

import pytest
from leftovers import descriptors_below

from caged.emulator.cage import file_changes
from caged.emulator.cage.file_changes import FileChange, FileChanges, Scan, compare
from caged.emulator.cage.paths import Layout


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout(tmp_path / "box")
    made.make()
    return made


@pytest.fixture
def workspace(layout: Layout) -> Path:
    return layout.workspace


@pytest.fixture
def files(layout: Layout) -> FileChanges:
    return FileChanges(layout)


def texts(changes: list[FileChange]) -> dict[str, tuple[str, Optional[str], Optional[str]]]:
    return {one.path.replace("/workspace/", ""): (one.change, one.before, one.after) for one in changes}


def difference(files: FileChanges, before: Scan) -> dict[str, tuple[str, Optional[str], Optional[str]]]:
    changes, notes = compare(before, files.scan())
    assert notes == []
    return texts(changes)


def test_added_changed_and_removed_files(files: FileChanges, workspace: Path):
    (workspace / "d").mkdir()
    for name in ("same", "changed", "d/removed"):
        (workspace / name).write_text("old\n")
    before = files.scan()
    (workspace / "changed").write_text("new\n")
    (workspace / "d/removed").unlink()
    (workspace / "d/added").write_text("")
    assert difference(files, before) == {
        "changed": ("changed", "old\n", "new\n"),
        "d/added": ("added", None, ""),
        "d/removed": ("removed", "old\n", None),
    }


def test_change_of_same_size_right_after_scan_is_seen(files: FileChanges, workspace: Path):
    for number in range(50):
        (workspace / "f").write_text(f"{number:03d}")
        before = files.scan()
        (workspace / "f").write_text(f"{number + 1:03d}")
        assert list(difference(files, before)) == ["f"], number


def test_file_rewritten_with_same_text_is_unchanged(files: FileChanges, workspace: Path):
    (workspace / "f").write_text("text")
    before = files.scan()
    (workspace / "f").unlink()
    (workspace / "f").write_text("text")
    os.utime(workspace / "f", (1, 1))
    assert difference(files, before) == {}


def test_unchanged_file_is_not_read_again(files: FileChanges, workspace: Path):
    (workspace / "f").write_text("text")
    os.utime(workspace / "f", (1, 1))
    first = files.scan().files["/workspace/f"]
    assert files.scan().files["/workspace/f"] is first


@pytest.mark.parametrize(
    ("content", "note"),
    [(b"a\0b", "it is not text"), (b"\xff\xfe", "it is not text"), (b"x" * 65_537, "it has more than 64 KiB")],
)
def test_omitted_content_is_noted(files: FileChanges, workspace: Path, content: bytes, note: str):
    before = files.scan()
    (workspace / "f").write_bytes(content)
    (change,) = compare(before, files.scan())[0]
    assert (change.after, change.note) == (None, note)


def test_links_are_listed_and_not_followed(files: FileChanges, workspace: Path, tmp_path: Path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    before = files.scan()
    (workspace / "to_directory").symlink_to(outside)
    (workspace / "to_file").symlink_to(outside / "secret")
    (workspace / "loop").symlink_to(workspace)
    changes, _notes = compare(before, files.scan())
    assert [(one.path, one.after, one.note) for one in changes] == [
        (f"/workspace/{name}", None, "it is a link") for name in ("loop", "to_directory", "to_file")
    ]


def test_pipes_and_sockets_do_not_block(files: FileChanges, workspace: Path):
    os.mkfifo(workspace / "pipe")
    scan = files.scan()
    assert scan.files["/workspace/pipe"].note == "it is not a regular file"


def test_skipped_directories_are_named(files: FileChanges, workspace: Path):
    for name in (".git", "node_modules", "a/__pycache__"):
        (workspace / name).mkdir(parents=True)
        (workspace / name / "x").write_text("x")
    scan = files.scan()
    assert list(scan.files) == []
    assert scan.notes == ["not scanned: .git, __pycache__, node_modules"]
    assert scan.is_complete


def test_too_large_workspace_is_scanned_partially(files: FileChanges, workspace: Path):
    for number in range(file_changes.ENTRIES + 500):
        (workspace / f"f{number}").touch()
    scan = files.scan()
    assert not scan.is_complete
    assert len(scan.files) <= file_changes.ENTRIES
    assert "scanned" in scan.notes[0]


def test_file_missing_in_partial_scan_is_neither_added_nor_removed():
    whole, part = Scan({"/workspace/a": state("1"), "/workspace/b": state("1")}), Scan({"/workspace/a": state("2")})
    part.is_complete, part.notes = False, ["only a part"]
    changes, notes = compare(whole, part)
    assert texts(changes) == {"a": ("changed", "1", "2")}
    assert notes == ["only a part"]
    assert texts(compare(part, whole)[0]) == {"a": ("changed", "2", "1")}


def state(text: str) -> file_changes.FileState:
    return file_changes.FileState(len(text), 1, 1, text)


def test_too_deep_directories_are_omitted(files: FileChanges, workspace: Path):
    deep = workspace.joinpath(*["d"] * (file_changes.DEPTH + 3))
    deep.mkdir(parents=True)
    (deep / "f").touch()
    scan = files.scan()
    assert (list(scan.files), scan.is_complete) == ([], False)
    assert scan.notes == [f"not scanned: directories more than {file_changes.DEPTH} deep"]


def test_texts_of_scan_are_bounded(files: FileChanges, workspace: Path):
    for number in range(100):
        (workspace / f"f{number}").write_text("x" * 60_000)
    for _ in range(5):  # each scan continues where the previous one ran out of time
        scan = files.scan()
    kept = [one for one in scan.files.values() if one.text is not None]
    assert sum(one.size for one in kept) <= file_changes.TEXTS_BYTES
    assert {one.note for one in scan.files.values() if one.text is None} <= {
        "the texts of the workspace have more than 2 MiB",
        "there was no time to read it",
    }


def test_changes_are_bounded():
    before = Scan()
    after = Scan({f"/workspace/{number:04d}": state("x" * 60_000) for number in range(300)})
    changes, notes = compare(before, after)
    assert len(changes) == file_changes.CHANGES
    assert sum(len(one.after or "") for one in changes) <= file_changes.CHANGES_CHARACTERS
    assert changes[-1].note == "the changes have more than 256 KiB of texts"
    assert notes == ["more than 200 files were changed; the others are not listed"]


def test_name_that_is_not_utf8_is_listed(files: FileChanges, workspace: Path):
    before = files.scan()
    with open(os.fsencode(workspace) + b"/\xff", "w"):
        pass
    ((path, _change),) = [(one.path, one) for one in compare(before, files.scan())[0]]
    path.encode("utf-8")


def test_missing_workspace_is_noted(files: FileChanges, workspace: Path):
    before = files.scan()
    workspace.rmdir()
    scan = files.scan()
    assert scan.notes == ["/workspace could not be scanned"]
    assert compare(before, scan)[0] == []


def test_workspace_that_is_a_link_is_not_followed(files: FileChanges, workspace: Path, tmp_path: Path):
    workspace.rmdir()
    workspace.symlink_to(tmp_path)
    assert files.scan().files == {}


def test_directory_replaced_by_link_during_scan_is_not_followed(files: FileChanges, workspace: Path, tmp_path: Path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "f").write_text("outside")
    done = threading.Event()

    def swap() -> None:
        while not done.is_set():
            (workspace / "d").mkdir()
            (workspace / "d/f").write_text("inside")
            (workspace / "d").rename(workspace / "old")
            (workspace / "d").symlink_to(outside)
            (workspace / "d").unlink()
            (workspace / "old/f").unlink()
            (workspace / "old").rmdir()

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        deadline = time.monotonic() + 1
        seen: set[Optional[str]] = set()
        while time.monotonic() < deadline:
            seen |= {one.text for one in files.scan().files.values()}
    finally:
        done.set()
        thread.join()
    assert seen <= {None, "", "inside"}


def test_scan_leaves_no_descriptor_open(files: FileChanges, workspace: Path):
    for number in range(20):
        (workspace / f"d{number}/e").mkdir(parents=True)
        (workspace / f"d{number}/e/f").write_text("x")
    for _ in range(5):
        files.scan()
    assert descriptors_below(workspace) == 0


def test_small_workspace_is_scanned_fast(files: FileChanges, workspace: Path):
    for number in range(20):
        (workspace / f"f{number}").write_text("x")
        os.utime(workspace / f"f{number}", (1, 1))
    files.scan()
    assert min(files.scan().seconds for _ in range(50)) < 0.001
