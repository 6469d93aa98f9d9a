"""upload() and download(): trees come back as they are, without what is left out."""

from __future__ import annotations

import os
import stat
import sys
import tracemalloc
from datetime import datetime, timezone

import pytest
from cases import each
from transfer_testing import look, replace_program
from workspace_testing import SMALL, on_shells

from caged import CagedPathError
from caged._workspace.file_stat import FileStat
from caged._workspace.local_target import StagedDirectory
from caged._workspace.pieces import PIECE
from caged._workspace.remote_tree import RemoteTree


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


@on_shells
def test_patterns_leave_out_in_both_directions(box, folder, tmp_path):
    source = tmp_path / "source"
    for name in (
        "a.py",
        "a.pyc",
        "node_modules/x/y",
        "sub/node_modules/z",
        "sub/b.pyc",
        "doc/out/a",
        "sub/doc/out/b",
        "!n",
        "sub/!n",
    ):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(name)
    ignore = ["*.pyc", "node_modules", "doc/out", "[x]", "**/!n"]
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
