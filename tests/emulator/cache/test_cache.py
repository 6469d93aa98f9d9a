"""The cache: entries appear complete or not at all, are checked before use, and go when they are not used."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Callable

import pytest

from caged.emulator.cache.cache import Cache
from caged.emulator.cache.entries import EntryDamaged, Key, UsedEntry, check
from caged.emulator.cache.location import CacheUnusable, cache_directory

KEY = Key("packages", "pytest", {"template": "python-311"})


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache", 4096)


def make(cache: Cache, key: Key = KEY, text: str = "x", size: int = 0) -> UsedEntry:
    builder = cache.begin(key)
    assert builder is not None
    (builder.content / "root").mkdir()
    (builder.content / "root" / "file").write_text(text + "\0" * size)
    (builder.content / "root" / "link").symlink_to("/etc/passwd")
    used = builder.publish({"output": "installed"})
    assert used is not None
    return used


def names(cache: Cache, directory: str) -> list[str]:
    return os.listdir(cache.path / directory)


def place(cache: Cache, key: Key = KEY) -> Path:
    """The directory of the only entry with a key."""
    (found,) = (cache.path / "entries").glob(f"{key.digest}.*")
    return found


def test_published_entry_is_found_with_content_and_details(cache):
    assert cache.find(KEY) is None
    make(cache).release()
    used = cache.find(KEY)
    assert (used.content / "root/file").read_text() == "x"
    assert used.description.details == {"output": "installed"}
    assert cache.find(Key("packages", "pytest", {"template": "python-312"})) is None
    assert names(cache, "building") == []
    (one,) = cache.list()
    assert (one.kind, one.name, one.in_use, one.files) == ("packages", "pytest", True, 4)
    used.release()
    assert not cache.list()[0].in_use


def test_second_builder_has_to_wait_until_the_first_has_published_or_given_up(cache):
    first = cache.begin(KEY)
    assert Cache(cache.path, 4096).begin(KEY) is None
    assert cache.begin(Key("packages", "other", {})) is not None
    first.abandon()
    assert names(cache, "entries") == []
    make(cache)


def test_abandoned_entry_leaves_nothing(cache):
    builder = cache.begin(KEY)
    (builder.content / "file").write_text("x")
    builder.abandon()
    assert names(cache, "building") == names(cache, "entries") == []


def test_least_recently_used_entries_are_evicted_but_none_in_use(cache):
    small = Cache(cache.path, 1)
    keys = [Key("packages", str(number), {"number": number}) for number in range(4)]
    used = [make(cache, key, size=600_000) for key in keys]
    for number, key in enumerate(keys):
        os.utime(place(cache, key) / "lock", (number, number))
    small.evict()
    assert len(names(cache, "entries")) == 4
    for number in (0, 2, 3):
        used[number].release()
    small.evict()  # 1 is in use, so that nothing else has space
    assert names(cache, "entries") == [place(cache, keys[1]).name]
    used[1].release()
    make(small, keys[3], size=600_000).release()
    assert names(cache, "entries") == [place(cache, keys[3]).name]


def test_clear_removes_what_is_not_in_use(cache):
    used = make(cache)
    make(cache, Key("packages", "other", {})).release()
    assert cache.clear() == (1, 1)
    assert (used.content / "root/file").read_text() == "x"
    used.release()
    assert cache.clear() == (1, 0)
    assert names(cache, "building") == []


def rewrite(entry: Path) -> None:
    (entry / "content/root/file").write_text("y")


def swap_link(entry: Path) -> None:
    (entry / "content/root/link").unlink()
    (entry / "content/root/link").symlink_to("/etc/shadow")


def add_file(entry: Path) -> None:
    (entry / "content/root/more").write_text("")


def remove_file(entry: Path) -> None:
    (entry / "content/root/file").unlink()


def change_mode(entry: Path) -> None:
    (entry / "content/root/file").chmod(0o4755)


def replace_by_link(entry: Path) -> None:
    shutil.move(str(entry), str(entry.parents[1] / "elsewhere"))
    entry.symlink_to(entry.parents[1] / "elsewhere")


def replace_content_by_link(entry: Path) -> None:
    shutil.move(str(entry / "content"), str(entry / "elsewhere"))
    (entry / "content").symlink_to("elsewhere")


def open_to_others(entry: Path) -> None:
    entry.chmod(0o777)


def remove_description(entry: Path) -> None:
    (entry / "entry.json").unlink()


def other_description(entry: Path) -> None:
    fields = json.loads((entry / "entry.json").read_text())
    (entry / "entry.json").write_text(json.dumps({**fields, "parts": {}}))


def odd_description(entry: Path) -> None:
    fields = json.loads((entry / "entry.json").read_text())
    (entry / "entry.json").write_text(json.dumps({**fields, "size": "big"}))


def pipe_as_description(entry: Path) -> None:
    (entry / "entry.json").unlink()
    os.mkfifo(entry / "entry.json")


CHANGES = [
    rewrite,
    swap_link,
    add_file,
    remove_file,
    change_mode,
    replace_by_link,
    replace_content_by_link,
    open_to_others,
    remove_description,
    other_description,
    odd_description,
    pipe_as_description,
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_changed_entry_is_not_used_and_can_be_made_again(cache, change: Callable[[Path], None]):
    make(cache).release()
    change(place(cache))
    assert cache.find(KEY) is None
    make(cache, text="again").release()
    used = cache.find(KEY)
    assert used is not None
    assert (used.content / "root/file").read_text() == "again"


def test_damaged_entry_is_listed_and_cleared(cache):
    make(cache).release()
    remove_description(place(cache))
    assert [one.kind for one in cache.list()] == ["damaged"]
    (cache.path / "entries" / f"{'0' * 64}.{'0' * 8}").write_text("x")
    assert cache.clear() == (2, 0)


@pytest.mark.parametrize(
    "field",
    [
        '"created_at": 1e30',
        '"created_at": NaN',
        '"created_at": Infinity',
        '"created_at": -1',
        '"size": -1',
        '"size": 1e3',
    ]
    + [f'"{name}": 1{"0" * 400}' for name in ("created_at", "size", "files")],
    ids=lambda field: field[:20],
)
def test_entry_with_impossible_number_is_damaged(cache, field):
    make(cache).release()
    description = place(cache) / "entry.json"
    description.write_text(description.read_text()[:-1] + f", {field}}}")
    assert [(one.kind, one.created_at) for one in cache.list()] == [("damaged", "1970-01-01T00:00:00Z")]
    assert cache.find(KEY) is None
    make(cache).release()
    assert [one.kind for one in cache.list()] == ["packages"]


def test_last_use_in_the_future_is_listed_as_now(cache):
    make(cache).release()
    os.utime(place(cache) / "lock", (2**33, 2**33))
    (one,) = cache.list()
    assert one.created_at <= one.used_at < "2200"


def test_message_names_what_has_changed(cache):
    make(cache).release()
    entry = place(cache)
    rewrite(entry)
    with pytest.raises(EntryDamaged, match=r"^root/file is not as it was when the entry was made$"):
        check(entry, KEY)


def test_tree_of_damaged_entry_stays_while_another_process_uses_it(cache):
    used = make(cache)
    remove_description(place(cache))
    assert cache.find(KEY) is None
    (kept,) = names(cache, "building")
    assert (cache.path / "building" / kept / "content/root/file").exists()
    used.release()
    cache.remove_abandoned()
    assert names(cache, "building") == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
@pytest.mark.parametrize("part", ["", "content", "entry.json", "lock"])
def test_entry_of_another_user_is_not_used(cache, part):
    make(cache).release()
    os.chown(place(cache) / part, 12345, 12345)
    assert cache.find(KEY) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory to another user")
def test_cache_below_directory_of_another_user_is_refused(tmp_path):
    (tmp_path / "home").mkdir()
    os.chown(tmp_path / "home", 12345, 12345)
    with pytest.raises(CacheUnusable, match="home belongs to user 12345; set CAGED_CACHE_DIR"):
        Cache(tmp_path / "home/cache", 1)
    os.chown(tmp_path / "home", 0, 0)
    os.chown(tmp_path / "home/cache", 12345, 12345)
    with pytest.raises(CacheUnusable, match="cache belongs to user 12345, not to 0"):
        Cache(tmp_path / "home/cache", 1)


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702])
def test_cache_that_others_can_write_to_is_refused(tmp_path, mode):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache").chmod(mode)
    with pytest.raises(CacheUnusable, match=rf"can be changed by other users \(mode {mode:o}\); remove it, or run"):
        Cache(tmp_path / "cache", 1)


def test_cache_below_directory_that_others_can_write_to_is_refused(tmp_path):
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(CacheUnusable, match="open can be changed by other users"):
        Cache(tmp_path / "open/cache", 1)
    (tmp_path / "open").chmod(0o1777)
    Cache(tmp_path / "open/cache", 1)


def test_part_of_cache_that_is_a_link_is_refused(tmp_path):
    Cache(tmp_path / "cache", 1)
    (tmp_path / "cache/entries").rmdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "cache/entries").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CacheUnusable, match="entries is not a directory"):
        Cache(tmp_path / "cache", 1)


def test_file_in_place_of_cache_is_refused(tmp_path):
    (tmp_path / "cache").write_text("")
    with pytest.raises(CacheUnusable, match="cache is not a directory; set CAGED_CACHE_DIR"):
        Cache(tmp_path / "cache", 1)


_BUILDER = """
import sys
from pathlib import Path
from caged.emulator.cache.cache import Cache
from caged.emulator.cache.entries import Key
builder = Cache(Path(sys.argv[1]), 1).begin(Key("packages", "pytest", {"template": "python-311"}))
(builder.content / "half").write_text("x")
print("begun", flush=True)
sys.stdin.read()
"""


def test_half_entry_of_killed_process_is_removed_and_others_may_build(cache):
    words = [sys.executable, "-c", _BUILDER, str(cache.path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "begun\n"
        assert cache.begin(KEY) is None
        cache.remove_abandoned()
        assert len(names(cache, "building")) == 1
        process.send_signal(signal.SIGKILL)
    assert cache.find(KEY) is None
    cache.remove_abandoned()
    assert names(cache, "building") == []
    make(cache)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"CAGED_CACHE_DIR": "/a", "XDG_CACHE_HOME": "/b", "HOME": "/c"}, "/a"),
        ({"XDG_CACHE_HOME": "/b", "HOME": "/c"}, "/b/caged"),
        ({"XDG_CACHE_HOME": "b", "HOME": "/c"}, "/c/.cache/caged"),
        ({"HOME": "/c"}, "/c/.cache/caged"),
    ],
)
def test_directory_is_that_of_the_environment(monkeypatch, variables, expected):
    for name in ("CAGED_CACHE_DIR", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert cache_directory() == Path(expected)
    assert cache_directory(Path("/given")) == Path("/given")


@pytest.mark.parametrize("tag", [None, "Signature: 8a477f597d28d172789f06886806bc55\n# Made by another program.\n"])
def test_directory_of_something_else_is_refused_and_stays_as_it_is(tmp_path, tag):
    project = tmp_path / "project"
    for name in ("building", "entries"):
        (project / name).mkdir(parents=True)
        (project / name / "mine").write_text("x")
    if tag is not None:
        (project / "CACHEDIR.TAG").write_text(tag)
    before = {path: path.stat().st_mtime_ns for path in project.rglob("*")}
    with pytest.raises(CacheUnusable, match=r"project is not empty and is not a cache of caged-emulator \(it has '"):
        Cache(project, 1)
    assert {path: path.stat().st_mtime_ns for path in project.rglob("*")} == before


def test_directory_with_other_files_of_the_project_can_hold_the_cache(tmp_path):
    (tmp_path / "caged" / "runs").mkdir(parents=True)
    make(Cache(tmp_path / "caged", 4096)).release()
    assert sorted(os.listdir(tmp_path / "caged")) == ["CACHEDIR.TAG", "building", "entries", "locks", "runs"]
    Cache(tmp_path / "caged", 4096).clear()
    assert (tmp_path / "caged" / "runs").is_dir()


def test_what_has_not_the_name_of_an_entry_stays(cache):
    make(cache).release()
    for name in ("entries", "building"):
        (cache.path / name / "mine").write_text("x")
    again = Cache(cache.path, 0)
    assert [one.kind for one in again.list()] == ["packages"]
    again.evict()
    again.clear()
    assert names(cache, "entries") == names(cache, "building") == ["mine"]


def test_entry_that_was_moved_away_while_in_use_is_not_in_place(cache):
    used = make(cache)
    assert used.is_in_place
    rewrite(used.content.parent)
    assert Cache(cache.path, 4096).find(KEY) is None  # moved
    assert not used.is_in_place
    again = make(cache, text="again")
    assert again.is_in_place
    assert not used.is_in_place
    again.release()
    assert not again.is_in_place


def test_lock_that_nothing_refers_to_is_released(cache):
    builder = cache.begin(KEY)
    assert cache.begin(KEY) is None
    del builder
    make(cache).release()
    assert names(cache, "building") == []
    used = cache.find(KEY)
    assert cache.clear() == (0, 1)
    del used
    assert cache.clear() == (1, 0)


def test_replaced_entry_keeps_its_path_and_content_while_it_is_in_use(cache):
    old = make(cache, text="old")
    new = make(Cache(cache.path, 4096), text="new")
    other = cache.find(KEY)
    assert [(one.content / "root/file").read_text() for one in (old, new, other)] == ["old", "new", "new"]
    assert old.is_in_place
    assert [one.in_use for one in cache.list()] == [True, True]
    old.release()
    make(cache, text="newest").release()
    assert not old.content.exists()
    new.release()
    other.release()
    make(cache).release()
    assert len(names(cache, "entries")) == 1
