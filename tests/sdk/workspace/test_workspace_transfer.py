"""upload() and download(): trees as they are, nothing outside the target, and no half files."""

from __future__ import annotations

import asyncio
import errno
import functools
import io
import itertools
import os
import re
import shlex
import stat
import sys
import tarfile
import threading
import tracemalloc
from datetime import datetime, timezone

import pytest
from cases import each
from workspace_testing import SMALL, new_sandbox, on_shells

from caged import (
    AsyncCaged,
    Caged,
    CagedError,
    CagedFileNotFoundError,
    CagedIsADirectoryError,
    CagedNotADirectoryError,
    CagedPathError,
)
from caged._workspace import pieces
from caged._workspace.file_stat import FileStat
from caged._workspace.local_target import StagedDirectory
from caged._workspace.pieces import PIECE
from caged._workspace.remote_tree import RemoteTree
from caged._workspace.scratch import SCRATCH

DIFFICULT = "-rf '\"$HOME`id`*?[a]\\n\\\t;&#!~%s h\xe9 \u65e5\n\nend\n"
LONG = "n" * 200
_numbers = itertools.count()


@pytest.fixture
def folder(box):
    """A path of the test's own, where nothing is yet."""
    path = f"/workspace/transfer-{next(_numbers)}"
    yield path
    box.remove(path, recursive=True, missing_ok=True)


@pytest.fixture
def cheap(process_box):
    """The same, in the cheapest sandbox alone: for what does not depend on the level."""
    path = f"/workspace/cheap-{next(_numbers)}"
    yield path
    process_box.remove(path, recursive=True, missing_ok=True)


@pytest.fixture
def single(namespace_box):
    """The same, in the sandbox that sees no processes but its own alone."""
    path = f"/workspace/single-{next(_numbers)}"
    yield path
    namespace_box.remove(path, recursive=True, missing_ok=True)


@pytest.fixture
def served_process(places):
    """The emulator of `process_box`."""
    return places.served("process-sync")


@pytest.fixture
def tree(tmp_path):
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


def look(root):
    """Type, mode, time and content of everything in a directory, by its path there."""
    found = {}
    for path in sorted(root.rglob("*")):
        status = path.lstat()
        if path.is_symlink():
            found[str(path.relative_to(root))] = ("link", os.readlink(path))
        else:
            content = path.read_bytes() if path.is_file() else None
            known = (stat.filemode(status.st_mode), int(status.st_mtime), content)
            found[str(path.relative_to(root))] = known
    return found


def test_tree_comes_back_as_it_was(box, folder, tree, tmp_path):
    os.mkfifo(tree / "pipe")

    box.upload(tree, f"{folder}/new/copy")
    box.download(f"{folder}/new/copy", tmp_path / "new" / "back")

    os.remove(tree / "pipe")
    assert look(tmp_path / "new" / "back").keys() == look(tree).keys()
    assert look(tmp_path / "new" / "back") == {**look(tree)}
    assert [entry.name for entry in box.list(f"{folder}/new")] == ["copy"]
    assert os.listdir(tmp_path / "new") == ["back"]
    assert box.stat(f"{folder}/new/copy/sub/script").mode == 0o751
    assert box.stat(f"{folder}/new/copy").mode == stat.S_IMODE(tree.stat().st_mode)


@on_shells
def test_file_comes_back_as_it_was(small_pieces, box, folder, tmp_path):
    content = os.urandom(SMALL * 2 + 777)
    (tmp_path / "file").write_bytes(content)
    (tmp_path / "file").chmod(0o741)
    os.utime(tmp_path / "file", (1e9, 1e9))

    box.upload(tmp_path / "file", f"{folder}/d/copy")
    box.download(f"{folder}/d/copy", tmp_path / "d" / "back")

    known = box.stat(f"{folder}/d/copy")
    assert (known.size, known.mode, known.mtime.timestamp()) == (len(content), 0o741, 1e9)
    back = tmp_path / "d" / "back"
    assert (back.read_bytes(), stat.S_IMODE(back.stat().st_mode), back.stat().st_mtime) == (content, 0o741, 1e9)
    assert [entry.name for entry in box.list(f"{folder}/d")] == ["copy"]
    assert os.listdir(tmp_path / "d") == ["back"]


@each("size", [0, 1, SMALL - 8192, SMALL - 1, SMALL, SMALL + 1])
def test_sizes_around_limit_are_exact(small_pieces, process_box, cheap, tmp_path, size):
    content = os.urandom(size)
    source = tmp_path / "source"
    source.mkdir(exist_ok=True)
    (source / "f").write_bytes(content)

    process_box.upload(source / "f", f"{cheap}/f")
    process_box.download(f"{cheap}/f", tmp_path / "f")
    process_box.upload(source, f"{cheap}/d")
    process_box.download(f"{cheap}/d", tmp_path / "d")

    assert (tmp_path / "f").read_bytes() == (tmp_path / "d" / "f").read_bytes() == content


@on_shells
def test_directory_of_several_pieces_is_whole(small_pieces, box, folder, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    for number in range(7):
        (source / f"{number}").write_bytes(os.urandom(SMALL // 3))
    (source / "large").write_bytes(os.urandom(SMALL + 5))
    os.link(source / "0", source / "same as 0")

    box.upload(source, folder)
    box.download(folder, tmp_path / "back")

    assert look(tmp_path / "back") == look(source)


def test_directory_of_many_files_is_whole(process_box, cheap, tmp_path):
    source = tmp_path / "source"
    for number in range(700):
        path = source / f"{number % 7}" / f"{'long name ' * 20}{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(number))

    process_box.upload(source, cheap)
    process_box.download(cheap, tmp_path / "back")

    assert look(tmp_path / "back") == look(source)


def test_memory_is_bounded_by_pieces(process_box, cheap, tmp_path):
    (tmp_path / "large").touch()
    os.truncate(tmp_path / "large", 8 * PIECE)
    process_box.run("true")
    tracemalloc.start()
    try:
        process_box.upload(tmp_path / "large", f"{cheap}/large")
        process_box.download(f"{cheap}/large", tmp_path / "back")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert (tmp_path / "back").stat().st_size == 8 * PIECE
    assert peak < 7 * PIECE, peak / PIECE


def test_local_link_is_followed_and_target_replaced(process_box, cheap, tmp_path):
    (tmp_path / "file").write_text("new")
    (tmp_path / "link").symlink_to("file")
    process_box.write(f"{cheap}/f", "old")
    (tmp_path / "elsewhere").write_text("kept")
    (tmp_path / "target").symlink_to("elsewhere")

    process_box.upload(str(tmp_path / "link"), f"{cheap}/f")
    process_box.download(f"{cheap}/f", str(tmp_path / "target"))

    assert process_box.read_text(f"{cheap}/f") == "new"
    assert ((tmp_path / "target").read_text(), (tmp_path / "target").is_symlink()) == ("new", False)
    assert (tmp_path / "elsewhere").read_text() == "kept"


def test_set_user_id_is_not_kept(process_box, cheap, tmp_path):
    process_box.write(f"{cheap}/f", "x")
    process_box.run(f"chmod 6755 {cheap}/f", check=True)

    process_box.download(f"{cheap}/f", tmp_path / "f")
    process_box.download(cheap, tmp_path / "d")

    assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == 0o755
    assert stat.S_IMODE((tmp_path / "d" / "f").stat().st_mode) == 0o755


def test_directory_of_any_depth_is_removed_when_a_download_ends(tmp_path):
    depth = sys.getrecursionlimit() + 100
    directory = FileStat("", "directory", 0, 0o755, datetime.now(timezone.utc), 0, 0, "root", "root")
    tree = RemoteTree("/", directories={"/".join("d" * (level + 1)): directory for level in range(depth)})

    with StagedDirectory(str(tmp_path / "new"), tree):
        assert os.listdir(tmp_path) != []

    assert os.listdir(tmp_path) == []


def test_directory_that_is_deeper_than_a_path_is_an_error(namespace_box, single, tmp_path):
    namespace_box.mkdir(single)
    namespace_box.run(["mkdir", "-p", f".{single}/{'/'.join(['n' * 250] * 18)}"], check=True, cwd="/")

    for call in (
        lambda: namespace_box.download(single, tmp_path / "x"),
        lambda: namespace_box.list(single, recursive=True),
    ):
        with pytest.raises(CagedPathError, match="file name too long") as caught:
            call()
        assert caught.value.path == single
    assert not (tmp_path / "x").exists()


@on_shells
@pytest.mark.parametrize("name", ["/proc/sys/kernel/ostype", "/sys/kernel/mm/transparent_hugepage/defrag"])
def test_file_whose_size_is_not_that_of_its_content_is_whole(box, tmp_path, name):
    """Files of /proc have the size 0, and those of /sys 4096."""
    if not box.exists(name):
        pytest.skip(f"this kernel has no {name}")
    content = box.read_bytes(name)
    assert len(content) != box.stat(name).size
    folder, _, own = name.rpartition("/")
    others = [entry.name for entry in box.list(folder) if entry.name not in (own, "osrelease")]
    seen = []

    box.download(name, tmp_path / "f", progress=lambda *numbers: seen.append(numbers))
    box.download(folder, tmp_path / "d", ignore=others)

    assert (tmp_path / "f").read_bytes() == (tmp_path / "d" / own).read_bytes() == content
    assert seen == [(len(content), len(content))]


def test_file_that_is_cut_off_while_its_directory_is_read_has_no_zeros(namespace_box, single, tmp_path):
    namespace_box.write(f"{single}/f", "x" * 5000)
    namespace_box.write(f"{single}/g", "y")
    replace_program(
        namespace_box,
        "tar",
        f"""/usr/bin/tar "$@" 2>/dev/null
printf cut >{single}/f
echo "/usr/bin/tar: ./f: File shrank by 4997 bytes; padding with zeros" >&2
exit 1
""",
    )
    try:
        namespace_box.download(single, tmp_path / "d")
    finally:
        namespace_box.run("rm /root/.local/bin/tar", check=True)

    assert {name: known[2] for name, known in look(tmp_path / "d").items()} == {"f": b"cut", "g": b"y"}


# What is left out, and what is reported


@on_shells
def test_patterns_leave_out_in_both_directions(box, folder, tmp_path):
    source = tmp_path / "source"
    for name in ("a.py", "a.pyc", "node_modules/x/y", "sub/node_modules/z", "sub/b.pyc", "doc/out/a", "sub/doc/out/b"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(name)
    ignore = ["*.pyc", "node_modules", "doc/out", "[x]"]
    expected = {"a.py", "sub", "doc", "sub/doc", "sub/doc/out", "sub/doc/out/b"}

    box.upload(source, f"{folder}/some", ignore=ignore)
    box.upload(source, f"{folder}/all")
    box.download(f"{folder}/all", tmp_path / "some", ignore=ignore)

    below = len(f"{folder}/some/")
    assert {entry.path[below:] for entry in box.list(f"{folder}/some", recursive=True)} == expected
    assert look(tmp_path / "some").keys() == expected


def test_progress_counts_bytes_of_files(small_pieces, process_box, cheap, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    for number in range(5):
        (source / f"{number}").write_bytes(bytes(SMALL // 2))
    (source / "large").write_bytes(bytes(2 * SMALL))
    sizes = {"file": 2 * SMALL, "directory": 5 * (SMALL // 2) + 2 * SMALL}
    for kind, local in (("file", source / "large"), ("directory", source)):
        for call in (
            lambda progress, local=local, kind=kind: process_box.upload(local, f"{cheap}/{kind}", progress=progress),
            lambda progress, kind=kind: process_box.download(f"{cheap}/{kind}", tmp_path / kind, progress=progress),
        ):
            seen = []
            call(lambda done, total, seen=seen: seen.append((done, total)))

            assert {total for _, total in seen} == {sizes[kind]}
            done = [count for count, _ in seen]
            assert done == sorted(done)
            assert (done[-1], len(done) > 1) == (sizes[kind], True)


def test_progress_is_called_where_there_are_no_bytes(namespace_box, single, tmp_path):
    (tmp_path / "source" / "d").mkdir(parents=True)
    (tmp_path / "f").touch()
    seen = []
    for call in (
        lambda **options: namespace_box.upload(tmp_path / "f", f"{single}/f", **options),
        lambda **options: namespace_box.download(f"{single}/f", tmp_path / "f2", **options),
        lambda **options: namespace_box.upload(tmp_path / "source", f"{single}/d", **options),
        lambda **options: namespace_box.download(f"{single}/d", tmp_path / "d2", **options),
    ):
        call(progress=lambda *numbers: seen.append(numbers))

    assert seen == [(0, 0)] * 4


def test_name_that_is_not_utf8_is_not_downloaded(namespace_box, single, tmp_path):
    namespace_box.mkdir(single)
    for script in ('mkdir "$n"', ': >"$n"', 'ln -s "$n" link', 'ln -s target "$n"'):
        namespace_box.run(f"n=$(printf '\\377'); {script}", cwd=single, check=True)

        with pytest.raises(CagedPathError, match="is not UTF-8; leave it out with ignore"):
            namespace_box.download(single, tmp_path / "x")

        assert not (tmp_path / "x").exists()
        namespace_box.run(f"rm -rf {single}/*", check=True)
    namespace_box.run("mkdir $(printf '\\377'); : >f", cwd=single, check=True)
    namespace_box.download(single, tmp_path / "x", ignore=["*\ufffd*"])
    assert os.listdir(tmp_path / "x") == ["f"]


# Joining what is there


@on_shells
def test_directories_join_what_is_there(box, folder, tree, tmp_path):
    box.write(f"{folder}/kept", "kept")
    box.write(f"{folder}/sub/kept", "kept")
    box.write(f"{folder}/a", "old")

    box.upload(tree, folder)
    (tmp_path / "back" / "sub").mkdir(parents=True)
    (tmp_path / "back" / "mine").write_text("mine")
    (tmp_path / "back" / "sub" / "script").write_text("old")
    box.download(folder, tmp_path / "back")

    back = look(tmp_path / "back")
    assert back.keys() == {*look(tree).keys(), "kept", "sub/kept", "mine"}
    assert (back["a"], back["sub/script"]) == (look(tree)["a"], look(tree)["sub/script"])
    assert back["kept"][2] == back["sub/kept"][2] == b"kept"


@pytest.mark.parametrize("place", ["process-sync", "busybox-sync"], indirect=True)
def test_directory_in_place_of_file_changes_nothing(box, folder, tmp_path):
    source = tmp_path / "source"
    (source / "b").mkdir(parents=True)
    (source / "b" / "c").write_text("new")
    (source / "a").write_text("new")
    for existing, error in (("b", CagedNotADirectoryError), ("a/x", CagedIsADirectoryError)):
        box.write(f"{folder}/{existing}", "old")

        with pytest.raises(error):
            box.upload(source, folder)

        assert [entry.path for entry in box.list(folder, recursive=True) if entry.is_file] == [f"{folder}/{existing}"]
        box.remove(folder, recursive=True)
    box.upload(source, folder)
    for existing, error in (("b", NotADirectoryError), ("a/x", IsADirectoryError)):
        target = tmp_path / existing.replace("/", "-")
        (target / existing).parent.mkdir(parents=True)
        (target / existing).write_text("old")

        with pytest.raises(error):
            box.download(folder, target)

        assert [path for path in target.rglob("*") if path.is_file()] == [target / existing]
        assert (target / existing).read_text() == "old"


def test_downloads_to_the_same_new_directory_join(process_box, cheap, tmp_path):
    """Each begins while there is none, and ends when all have begun."""
    process_box.write(f"{cheap}/d/e/f", "x")
    process_box.write(f"{cheap}/d/g/f", "x")
    together = threading.Barrier(3)
    errors = []

    def download():
        try:
            process_box.download(cheap, tmp_path / "new", progress=lambda *_: together.wait(60))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=download) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert errors == []
    assert look(tmp_path).keys() == {f"new{path}" for path in ("", "/d", "/d/e", "/d/e/f", "/d/g", "/d/g/f")}


def test_downloaded_directory_can_be_downloaded_again(process_box, cheap, tmp_path):
    """Its owner may read, write and enter it, whatever its mode in the sandbox is."""
    process_box.write(f"{cheap}/d/f", "x")
    process_box.run(f"ln {cheap}/d/f {cheap}/d/g; chmod 555 {cheap}/d; chmod 510 {cheap}", check=True)
    process_box.run(f"touch -d @1000000000 {cheap}", check=True)

    process_box.download(cheap, tmp_path / "back")
    assert (tmp_path / "back").stat().st_mtime == 1e9
    process_box.download(cheap, tmp_path / "back")

    assert stat.S_IMODE((tmp_path / "back" / "d").stat().st_mode) == 0o755
    assert stat.S_IMODE((tmp_path / "back").stat().st_mode) == 0o710
    assert [(tmp_path / "back" / "d" / name).stat().st_nlink for name in "fg"] == [1, 1]


@on_shells
def test_link_to_a_directory_is_replaced(box, folder, tmp_path):
    source = tmp_path / "source"
    (source / "releases" / "1").mkdir(parents=True)
    (source / "current").symlink_to("releases/1")
    (source / "releases" / "latest").symlink_to("1")

    box.upload(source, folder)
    box.upload(source, folder)
    links = [entry for entry in box.list(folder, recursive=True) if entry.is_symlink]
    (source / "current").unlink()
    (source / "current").write_text("a file")
    box.upload(source, folder)

    assert [(entry.name, entry.target) for entry in links] == [("current", "releases/1"), ("latest", "1")]
    assert box.stat(f"{folder}/current", follow_symlinks=False).is_file
    assert box.list(f"{folder}/releases/1") == []


@each("local, remote, error", [("d/e/f", "d/e", CagedNotADirectoryError), ("d/e", "d/e/f", CagedIsADirectoryError)])
def test_upload_names_the_entry_that_cannot_be_replaced(namespace_box, single, tmp_path, local, remote, error):
    source = tmp_path / local.replace("/", "-")
    (source / local).parent.mkdir(parents=True)
    (source / local).write_text("")
    namespace_box.write(f"{single}/{remote}", "")

    with pytest.raises(error) as caught:
        namespace_box.upload(source, single)

    assert caught.value.path == f"{single}/d/e"
    namespace_box.remove(single, recursive=True)


def test_target_of_the_other_kind_is_an_error(process_box, cheap, tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "f").write_text("f")
    process_box.write(f"{cheap}/d/x", "x")
    process_box.write(f"{cheap}/f", "f")

    with pytest.raises(CagedIsADirectoryError):
        process_box.upload(tmp_path / "f", f"{cheap}/d")
    with pytest.raises(CagedNotADirectoryError):
        process_box.upload(tmp_path / "d", f"{cheap}/f")
    with pytest.raises(CagedNotADirectoryError):
        process_box.upload(tmp_path / "d", f"{cheap}/f/x")
    for target in (tmp_path / "d", f"{tmp_path}/none/"):
        with pytest.raises(IsADirectoryError):
            process_box.download(f"{cheap}/f", target)
    with pytest.raises(NotADirectoryError):
        process_box.download(f"{cheap}/d", tmp_path / "f")

    assert look(tmp_path).keys() == {"d", "f"}
    assert [entry.name for entry in process_box.list(cheap, recursive=True)] == ["d", "x", "f"]


def test_missing_and_special_sources_are_errors(process_box, cheap, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    process_box.mkdir(cheap)
    process_box.run(f"mkfifo {cheap}/pipe", check=True)

    with pytest.raises(FileNotFoundError) as caught:
        process_box.upload(tmp_path / "none", f"{cheap}/f")
    assert caught.value.errno == errno.ENOENT
    with pytest.raises(CagedError, match="neither a file nor a directory"):
        process_box.upload(tmp_path / "pipe", f"{cheap}/f")
    with pytest.raises(CagedFileNotFoundError):
        process_box.download(f"{cheap}/none", tmp_path / "f")
    with pytest.raises(CagedPathError, match="named pipe"):
        process_box.download(f"{cheap}/pipe", tmp_path / "f")
    process_box.download(cheap, tmp_path / "d")

    assert os.listdir(tmp_path / "d") == []
    assert not (tmp_path / "f").exists()


async def no_progress(_done, _total):
    """Nothing awaits it."""


@each(
    "options, message",
    [
        ({"local": 5}, "local must be a path"),
        ({"local": b"x"}, "local must be a path"),
        ({"local": ""}, "not empty"),
        ({"remote": ""}, "remote is empty"),
        ({"ignore": "*.py"}, "ignore must be a list"),
        ({"ignore": [5]}, "ignore"),
        ({"ignore": ["[z-a]"]}, "is not a pattern"),
        ({"progress": 5}, "progress must be a function"),
        ({"progress": no_progress}, "progress must be a function, not a coroutine function"),
        ({"progress": functools.partial(no_progress)}, "progress must be a function, not a coroutine function"),
    ],
)
def test_bad_argument_is_refused(process_box, tmp_path, options, message):
    for call in ("upload", "download"):
        arguments = {"local": tmp_path, "remote": "/workspace", **options}
        with pytest.raises(CagedError, match=message):
            getattr(process_box, call)(**arguments)


# Failures half way


def failing(kind):
    def progress(_done, _total):
        raise kind("stop")

    return progress


@each("kind", [RuntimeError, CagedError])
def test_upload_that_fails_half_way_leaves_nothing(small_pieces, process_box, cheap, tmp_path, kind):
    source = tmp_path / "source"
    source.mkdir(exist_ok=True)
    (source / "large").write_bytes(bytes(SMALL + 1))
    process_box.write(f"{cheap}/f", "old")
    process_box.write(f"{cheap}/d/f", "old")

    for local, remote in ((source / "large", "f"), (source, "d"), (source / "large", "new"), (source, "new")):
        with pytest.raises(kind, match="stop"):
            process_box.upload(local, f"{cheap}/{remote}", progress=failing(kind))

    found = process_box.list(cheap, recursive=True)
    assert [entry.path[len(cheap) + 1 :] for entry in found] == ["d", "d/f", "f"]
    assert process_box.read_text(f"{cheap}/f") == "old"


@each("kind", [RuntimeError, CagedError, KeyboardInterrupt])
def test_download_that_fails_half_way_leaves_nothing(small_pieces, process_box, cheap, tmp_path, kind):
    process_box.write(f"{cheap}/large", bytes(SMALL + 1))
    target = tmp_path / "target"
    (target / "d").mkdir(parents=True, exist_ok=True)
    (target / "f").write_text("old")

    for remote, local in ((f"{cheap}/large", "f"), (cheap, "d"), (f"{cheap}/large", "new"), (cheap, "new")):
        with pytest.raises(kind, match="stop"):
            process_box.download(remote, target / local, progress=failing(kind))

    assert look(target).keys() == {"d", "f"}
    assert (target / "f").read_text() == "old"


def test_file_that_becomes_shorter_is_an_error(small_pieces, process_box, cheap, tmp_path):
    process_box.write(f"{cheap}/f", bytes(2 * SMALL))

    with pytest.raises(CagedPathError, match="became shorter"):
        process_box.download(
            f"{cheap}/f", tmp_path / "f", progress=lambda *_: process_box.run(f"echo >{cheap}/f", check=True)
        )
    (tmp_path / "local").write_bytes(bytes(2 * SMALL))
    source = tmp_path / "source"
    source.mkdir()
    os.link(tmp_path / "local", source / "local")
    with pytest.raises(CagedError, match="became shorter"):
        process_box.upload(source, f"{cheap}/d", progress=lambda *_: os.truncate(source / "local", 1))

    assert not (tmp_path / "f").exists()
    assert not process_box.exists(f"{cheap}/d")


def test_interrupted_upload_or_write_leaves_nothing(small_pieces, namespace_box, single, tmp_path):
    box, source = namespace_box, tmp_path / "source"
    source.mkdir()
    (source / "large").write_bytes(bytes(SMALL + 1))
    box.write(f"{single}/d/f", "old")
    box.run(f"ln -s d/f {single}/link", check=True)

    class Interrupted(io.BytesIO):
        def read(self, size=-1):
            if self.tell() > SMALL:
                raise KeyboardInterrupt
            return super().read(size)

    for call in (
        lambda: box.upload(source / "large", f"{single}/new", progress=failing(KeyboardInterrupt)),
        lambda: box.upload(source, f"{single}/new", progress=failing(KeyboardInterrupt)),
        lambda: box.upload(source, f"{single}/d", progress=failing(KeyboardInterrupt)),
        lambda: box.write(f"{single}/link", Interrupted(bytes(2 * SMALL))),
    ):
        with pytest.raises(KeyboardInterrupt):
            call()

        found = box.list(single, recursive=True)
        assert [entry.path[len(single) + 1 :] for entry in found] == ["d", "d/f", "link"]
    assert box.read_text(f"{single}/d/f") == "old"
    assert not [entry.name for entry in box.list(SCRATCH) if entry.name.endswith(".b")]


def test_interruption_of_a_closed_client_is_raised_as_it_is(small_pieces, places, namespace_box, single, tmp_path):
    settings = places.served("namespace-sync").client._session.settings
    client = Caged(api_key=settings.api_key, base_url=settings.base_url)
    (tmp_path / "large").write_bytes(bytes(SMALL + 1))

    def close(_done, _total):
        client.close()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        client.sandboxes.bind(namespace_box.id).upload(tmp_path / "large", f"{single}/f", progress=close)


def test_cancelled_upload_leaves_nothing(small_pieces, places, namespace_box, single, tmp_path):
    served = places.served("namespace-sync")
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "large").write_bytes(bytes(20 * SMALL))
    namespace_box.mkdir(single)

    async def main():
        async with AsyncCaged(api_key=served.api_key, base_url=served.base_url) as client:
            box = client.sandboxes.bind(namespace_box.id)
            for local in ("source", "source/large"):
                begun = asyncio.Event()
                upload = asyncio.create_task(
                    box.upload(tmp_path / local, f"{single}/new", progress=lambda *_, begun=begun: begun.set())
                )
                await begun.wait()
                upload.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await upload
                assert await box.list(single) == []

    asyncio.run(asyncio.wait_for(main(), 60))


def test_archive_that_is_unpacked_in_part_is_an_error(namespace_box, single, tmp_path):
    """At each multiple of 4096 bytes one of these files is complete, so what is there of the archive looks whole."""
    source = tmp_path / "source"
    source.mkdir()
    for number in range(20):
        (source / str(number)).write_text("x")
    for last in ("exit 1", "kill -9 $$"):
        stopping = f'[ "$1" = -d ]||exec /usr/bin/base64 "$@"\n/usr/bin/base64 -d|head -c 4096\n{last}\n'
        replace_program(namespace_box, "base64", stopping)
        try:
            with pytest.raises(CagedPathError, match="base64 failed") as caught:
                namespace_box.upload(source, single)
        finally:
            namespace_box.run("rm /root/.local/bin/base64", check=True)

        assert caught.value.path == single
        assert not namespace_box.exists(single)


def test_piece_that_arrives_in_part_is_an_error(namespace_box, single, tmp_path, monkeypatch):
    (tmp_path / "f").write_bytes(bytes(3000))
    whole = pieces.write
    monkeypatch.setattr(pieces, "write", lambda box, path, text: whole(box, path, text[: len(text) // 8 * 4]))

    for call in (
        lambda: namespace_box.upload(tmp_path / "f", f"{single}/f"),
        lambda: namespace_box.upload(tmp_path, f"{single}/d"),
    ):
        with pytest.raises(CagedPathError, match="was changed after it had been sent"):
            call()

    assert namespace_box.list(single) == []


def test_directory_that_appears_at_the_last_moment_is_joined_or_refused(namespace_box, single, tmp_path):
    """`mv` puts what it is to rename into a directory of this name."""
    box = namespace_box
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "f").write_text("new")
    box.write(f"{single}/source/g", "x")
    replace_program(box, "mv", 'for last;do :;done\nmkdir -p "$last"\nexec /usr/bin/mv "$@"\n')
    try:
        box.upload(tmp_path / "d", f"{single}/joined")
        for number, call in enumerate(
            (
                lambda path: box.write(path, "x"),
                lambda path: box.upload(tmp_path / "d" / "f", path),
                lambda path: box.copy(f"{single}/source", path),
                lambda path: box.copy(f"{single}/source/g", path),
            )
        ):
            with pytest.raises(CagedIsADirectoryError) as caught:
                call(f"{single}/{number}")
            assert caught.value.path == f"{single}/{number}"
            assert box.list(f"{single}/{number}") == []
    finally:
        box.run("rm /root/.local/bin/mv", check=True)

    assert [entry.name for entry in box.list(f"{single}/joined")] == ["f"]


# What a hostile sandbox does


@each(
    "target, path",
    [
        ("/etc/passwd", "l"),
        ("..", "l"),
        ("../..", "d/l"),
        ("../../x", "d/l"),
        ("../cheapest", "l"),
        ("d/../../x", "l"),
        ("d/../e", "l"),
        ("/", "l"),
        ("{folder}x", "l"),
        ("{folder}/../x", "l"),
    ],
)
def test_link_that_leads_out_is_refused(process_box, tmp_path, target, path):
    folder = f"/workspace/links-{next(_numbers)}"
    process_box.mkdir(f"{folder}/d", parents=True)
    process_box.run(["ln", "-s", target.format(folder=folder), f"{folder}/{path}"], check=True)

    with pytest.raises(CagedPathError, match="leave it out with ignore") as caught:
        process_box.download(folder, tmp_path / "out" / "x")

    assert caught.value.path == f"{folder}/{path}"
    assert not (tmp_path / "out").exists()
    process_box.download(folder, tmp_path / "x", ignore=["l"])
    process_box.remove(folder, recursive=True)


def test_links_that_stay_inside_are_kept(process_box, cheap, tmp_path):
    process_box.write(f"{cheap}/d/e/f", "x")
    links = {"a": "d/e/f", "d/b": "../d/e", "d/e/c": "../..", "d/e/g": "f", "self": ".", "none": "d/none"}
    for path, target in {**links, "absolute": f"{cheap}/d/e/f", "d/up": cheap}.items():
        process_box.run(["ln", "-s", target, f"{cheap}/{path}"], check=True)

    process_box.download(cheap, tmp_path / "x")

    expected = {**links, "absolute": "d/e/f", "d/up": ".."}
    assert {name: known[1] for name, known in look(tmp_path / "x").items() if known[0] == "link"} == expected


def test_link_in_target_is_not_followed(process_box, cheap, tmp_path):
    """A sandbox that knows of a link in the target cannot write through it."""
    process_box.write(f"{cheap}/link/f", "evil")
    process_box.write(f"{cheap}/file", "new")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "g").write_text("kept")
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "link").symlink_to("../outside")

    with pytest.raises(NotADirectoryError):
        process_box.download(cheap, tmp_path / "target")
    process_box.remove(f"{cheap}/link", recursive=True)
    (tmp_path / "target" / "file").symlink_to("../outside/g")
    process_box.download(cheap, tmp_path / "target")

    assert look(tmp_path / "outside") == {"g": look(tmp_path / "outside")["g"]}
    assert (tmp_path / "outside" / "g").read_text() == "kept"
    assert ((tmp_path / "target" / "file").read_text(), (tmp_path / "target" / "file").is_symlink()) == ("new", False)


def replace_program(box, name, script):
    """Another program of this name, which comes first on the path of commands."""
    box.write(f"/root/.local/bin/{name}", f"#!/bin/sh\n{script}")
    box.run(["chmod", "755", f"/root/.local/bin/{name}"], check=True)


def host_path(box, path):
    """A directory of a sandbox at level `process`, as a file in it has to name it."""
    return shlex.quote(box.run("pwd", cwd=path).stdout.removesuffix("\n"))


FILE, DIRECTORY, LINK = "81a4", "41ed", "a1ff"


def record(path, mode=FILE, size=1):
    return f"S{mode} {size} 1000000000 0 0 root root {path}"


BAD_LISTS = [
    [record("/workspace/d/../../outside")],
    [record("/workspace/d/..")],
    [record("/workspace/d/./f")],
    [record("/workspace/d//f")],
    [record("/workspace/d/")],
    [record("/outside/f")],
    [record("/workspace/dx")],
    [record("relative")],
    [record("/workspace/d/missing/f")],
    [record("/workspace/d/f"), record("/workspace/d/f/g")],
    [record("/workspace/d/l", LINK), "L/workspace/d/l", "Td", record("/workspace/d/l/f")],
    [record("/workspace/d/l", LINK), "L/workspace/d/l", "T../../outside"],
    [record("/workspace/d/l", LINK), "L/workspace/d/l", "T"],
    [record("/workspace/d/l", LINK)],
    [record("/workspace/d/x", DIRECTORY), record("/workspace/d/x/..", DIRECTORY)],
    ["Sgarbage"],
    ["Xgarbage"],
    [record("/workspace/d/f", size="many")],
    [record("/workspace/d/f", mode="zz")],
]


def test_forged_directory_listing_is_refused(own_box, tmp_path):
    own_box.write("/workspace/d/f", "x")
    replace_program(
        own_box,
        "stat",
        'case "$2" in *S%f*) ;; *) exec /usr/bin/stat "$@";; esac\nk=${2%%S*}\n'
        f'while read -r line;do echo "$k$line";done <{host_path(own_box, "/workspace")}/records\n',
    )
    replace_program(own_box, "tar", "exit 0\n")
    for number, records in enumerate(BAD_LISTS):
        own_box.write("records", "".join(f"{line}\n" for line in records))

        with pytest.raises(CagedError) as caught:
            own_box.download("/workspace/d", tmp_path / "a" / "target")

        message = str(caught.value)
        assert re.search(r"the sandbox lists|has an entry that cannot be read|leads out", message), (
            number,
            message,
        )
        assert look(tmp_path).keys() <= {"a"}, number


def archive(*members):
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.GNU_FORMAT) as writer:
        for name, kind, target in members:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            info.size = 4 if kind == tarfile.REGTYPE else 0
            writer.addfile(info, io.BytesIO(b"evil"))
    return made.getvalue()


def test_archive_writes_only_what_was_requested(own_box, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    target = tmp_path / "a" / "target"
    own_box.write("/workspace/d/f", "x")
    good = ("./f", tarfile.REGTYPE, "")
    hostile = [
        ("../../outside/x", tarfile.REGTYPE, ""),
        (f"{outside}/x", tarfile.REGTYPE, ""),
        ("./../x", tarfile.REGTYPE, ""),
        ("./g", tarfile.SYMTYPE, str(outside)),
        ("./g/x", tarfile.REGTYPE, ""),
        ("./g", tarfile.CHRTYPE, ""),
        ("./p", tarfile.FIFOTYPE, ""),
        ("./h", tarfile.LNKTYPE, str(outside)),
        ("./h2", tarfile.LNKTYPE, "./nothing"),
        ("", tarfile.REGTYPE, ""),
        ("..", tarfile.DIRTYPE, ""),
    ]
    own_box.write("archive", archive(good, *hostile))
    replace_program(own_box, "tar", f"cat {host_path(own_box, '/workspace')}/archive\n")

    own_box.download("/workspace/d", target)

    assert {name: known[2] for name, known in look(target).items()} == {"f": b"evil"}
    assert look(tmp_path).keys() == {"outside", "a", "a/target", "a/target/f"}


BAD_ARCHIVES = [
    b"",
    b"garbage",
    b"\xff" * 2048,
    archive(("./g", tarfile.REGTYPE, "")),
    archive(("./f", tarfile.SYMTYPE, "/etc/passwd")),
    archive(("./f", tarfile.CHRTYPE, "")),
    archive(("./f", tarfile.DIRTYPE, "")),
    archive(("./f", tarfile.LNKTYPE, "/etc/passwd")),
    archive(("./f", tarfile.LNKTYPE, "./f")),
    archive(("./f", tarfile.REGTYPE, ""))[:514],
    tarfile.TarInfo("./f").tobuf()[:124] + b"\x80" + b"\xff" * 11 + tarfile.TarInfo("./f").tobuf()[136:],
]


def test_archive_without_requested_file_is_an_error(process_box, cheap, tmp_path):
    process_box.write(f"{cheap}/d/f", "x")
    replace_program(process_box, "tar", f"cat {host_path(process_box, cheap)}/archive\n")
    try:
        for number, content in enumerate(BAD_ARCHIVES):
            process_box.write(f"{cheap}/archive", content)
            with pytest.raises(CagedPathError) as caught:
                process_box.download(f"{cheap}/d", tmp_path / "a" / "target")
            assert caught.value.path == f"{cheap}/d/f", number
    finally:
        process_box.remove("/root/.local/bin/tar")

    assert os.listdir(tmp_path / "a") == []


def test_download_of_a_directory_without_tar_says_that_it_is_missing(places, tmp_path):
    with new_sandbox(places.served("namespace-sync")) as sandbox_id:
        box = places.bind("namespace-sync", sandbox_id, "sync")
        box.write("d/f", "x")
        box.run("rm -f $(which -a tar)", check=True)

        with pytest.raises(CagedPathError, match="tar, which reads directories, is not installed") as caught:
            box.download("d", tmp_path / "d")
        box.download("d/f", tmp_path / "f")

    assert (caught.value.path, os.listdir(tmp_path)) == ("/workspace/d", ["f"])


def test_cancelled_download_leaves_nothing(small_pieces, served_process, cheap, process_box, tmp_path):
    """A thread that writes a piece when the coroutine is cancelled does no harm."""
    process_box.write(f"{cheap}/d/large", bytes(3 * SMALL))
    process_box.write(f"{cheap}/d/small", b"x")

    async def main():
        async with AsyncCaged(api_key=served_process.api_key, base_url=served_process.base_url) as client:
            box = client.sandboxes.bind(process_box.id)
            for remote in (f"{cheap}/d", f"{cheap}/d/large"):
                begun = asyncio.Event()
                download = asyncio.create_task(
                    box.download(remote, tmp_path / "new", progress=lambda *_, begun=begun: begun.set())
                )
                await begun.wait()
                download.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await download

    asyncio.run(main())

    assert os.listdir(tmp_path) == []
