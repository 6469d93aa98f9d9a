"""The emulator's log on disk: bounded, and read while it is written."""

from __future__ import annotations

import os

import pytest

from caged.emulator.logfile import LogFile, follow, older, tail


@pytest.fixture
def log(tmp_path):
    log = LogFile(tmp_path / "one.log", half_bytes=100)
    yield log
    log.remove()
    assert list(tmp_path.iterdir()) == []


def test_only_the_user_can_read_the_log(log):
    assert log.path.stat().st_mode & 0o777 == 0o600


def test_log_keeps_the_newest_lines_and_is_bounded(log):
    for number in range(1000):
        log.write(f"line {number}")
    assert log.path.stat().st_size + older(log.path).stat().st_size <= 200
    kept = tail(log.path, 10_000)
    assert kept == [f"line {number}" for number in range(1000 - len(kept), 1000)]
    assert len(kept) >= 10  # at least the older half
    assert older(log.path).stat().st_mode & 0o777 == 0o600


def test_a_line_longer_than_the_log_loses_its_beginning(log):
    log.write("x" * 1000 + "end")
    assert log.path.stat().st_size == 100
    assert tail(log.path, 1)[0].endswith("xend")


@pytest.mark.parametrize(("count", "lines"), [(0, []), (2, ["8", "9"]), (100, [str(n) for n in range(10)])])
def test_a_tail_has_the_requested_number_of_lines(log, count, lines):
    for number in range(10):
        log.write(str(number))
    assert tail(log.path, count) == lines


def test_a_log_that_was_removed_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        tail(tmp_path / "none.log", 1)
    with pytest.raises(FileNotFoundError):
        next(follow(tmp_path / "none.log", 1, lambda: True))


def test_following_begins_with_the_newest_lines_and_misses_none_when_the_log_begins_anew(log):
    for number in range(30):
        log.write(f"line {number}")
    lives = [True]
    lines = follow(log.path, 3, lambda: lives[0])
    assert [next(lines) for _ in range(3)] == ["line 27", "line 28", "line 29"]
    for number in range(30, 60):
        log.write(f"line {number}")  # ten or so fill a half
        assert next(lines) == f"line {number}"
    log.write("the end")
    lives[0] = False
    assert list(lines) == ["the end"]


def test_following_an_empty_log_ends_with_its_emulator(log):
    assert list(follow(log.path, 3, lambda: False)) == []


def test_nothing_is_written_through_a_link_or_over_a_file(tmp_path):
    (tmp_path / "file").write_text("kept")
    os.symlink(tmp_path / "file", tmp_path / "link")
    for name in ("file", "link"):
        with pytest.raises(OSError, match="exists"):
            LogFile(tmp_path / name)
    assert (tmp_path / "file").read_text() == "kept"


def test_writing_after_its_removal_is_harmless(log):
    log.remove()
    log.write("late")
    assert not log.path.exists()
