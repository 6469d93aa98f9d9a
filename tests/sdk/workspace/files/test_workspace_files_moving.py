"""mkdir(), remove(), move() and copy()."""

from __future__ import annotations

import errno

import pytest
from files_testing import names_of
from workspace_testing import new_sandbox, on_shells

from caged import CagedIsADirectoryError, CagedNotADirectoryError, CagedPathError


def test_mkdir_makes_parents_and_accepts_existing_on_demand(box, folder):
    box.mkdir(f"{folder}/a/b/", parents=True)
    box.mkdir(f"{folder}/a/b", exist_ok=True)
    box.mkdir(f"{folder}/a/b", parents=True, exist_ok=True)

    assert box.stat(f"{folder}/a/b").is_dir


def test_mkdir_accepts_a_directory_that_another_call_makes_meanwhile(places):
    with new_sandbox(places.served("namespace-sync"), env={"BASH_ENV": "/root/file"}) as sandbox_id:
        box = places.bind("namespace-sync", sandbox_id, "sync")
        box.exec("""echo 'mkdir() { command mkdir "$@"; command mkdir -p /workspace/a/b; }' >/root/file""")
        box.mkdir("a/b", parents=True, exist_ok=True)

        assert box.stat("a/b").is_dir


@on_shells
def test_directory_is_not_copied_or_moved_into_itself(box, folder):
    box.mkdir(f"{folder}/d\n/e", parents=True)
    box.exec(f"cd {folder}; ln -s d*/e link")
    for call in (box.copy, box.move):
        for target in ("d\n/new", "d\n/e/new/f", "link/new/f"):
            with pytest.raises(CagedPathError, match="into itself") as caught:
                call(f"{folder}/d\n", f"{folder}/{target}")
            assert caught.value.errno == errno.EINVAL

    assert names_of(box.list(folder, recursive=True)) == ["d\n", "e", "link"]


def test_path_that_ends_with_dots_is_that_of_a_directory(process_box, cheap):
    process_box.write(f"{cheap}/f", "x")
    for name in ("new/.", "new/..", ".", "f/.."):
        for call in (process_box.write, lambda path, _: process_box.copy(f"{cheap}/f", path)):
            with pytest.raises(CagedIsADirectoryError):
                call(f"{cheap}/{name}", "x")

    assert names_of(process_box.list(cheap)) == ["f"]


@on_shells
def test_remove_takes_links_and_not_their_targets(box, folder):
    box.write(f"{folder}/d/f", "x")
    box.run(f"cd {folder}; ln -s d l; ln -s none n; mkdir e; mkdir r; ln -s ../d r/l", check=True)

    for name in ("l", "n", "e"):
        box.remove(f"{folder}/{name}")
    box.remove(f"{folder}/r", recursive=True)
    box.remove(f"{folder}/r", missing_ok=True)
    box.remove(f"{folder}/r", recursive=True, missing_ok=True)

    assert names_of(box.list(folder, recursive=True)) == ["d", "f"]
    with pytest.raises(CagedIsADirectoryError, match="never removed"):
        box.remove("/", recursive=True)


@on_shells
def test_move_and_copy_replace_files_and_keep_modes(box, folder):
    box.write(f"{folder}/a", "1")
    box.run(f"chmod 751 {folder}/a; touch -d @1000000000 {folder}/a; ln -s a {folder}/l", check=True)
    box.write(f"{folder}/b", "2")

    box.copy(f"{folder}/a", f"{folder}/b")
    box.copy(f"{folder}/l", f"{folder}/new/c")
    box.move(f"{folder}/a", f"{folder}/other/d")

    for path in ("b", "new/c", "other/d"):
        known = box.stat(f"{folder}/{path}", follow_symlinks=False)
        assert (known.type, known.mode, known.mtime.timestamp()) == ("file", 0o751, 1e9)
    assert not box.exists(f"{folder}/a")
    assert not [name for name in names_of(box.list(folder, recursive=True)) if name.startswith(".caged")]


@on_shells
def test_directories_are_moved_and_copied_whole(box, folder):
    box.write(f"{folder}/d/e/.f", "1")
    box.run(f"cd {folder}/d; chmod 711 .; mkdir empty; ln -s e/.f link; ln -s none n", check=True)

    box.copy(f"{folder}/d", f"{folder}/copy")
    box.move(f"{folder}/d", f"{folder}/x/moved")

    for path in ("copy", "x/moved"):
        found = box.list(f"{folder}/{path}", recursive=True)
        assert names_of(found) == ["e", ".f", "empty", "link", "n"]
        assert [entry.target for entry in found if entry.is_symlink] == ["e/.f", "none"]
        assert box.stat(f"{folder}/{path}").mode == 0o711
    assert not box.exists(f"{folder}/d")


@on_shells
def test_move_to_another_file_system_is_whole(box, folder):
    other = f"/dev/shm/{folder.rpartition('/')[2]}"
    box.write(f"{folder}/d/f", "1")
    box.run("chmod 751 d/f; touch -d @1000000000 d/f; ln -s f d/link", cwd=folder, check=True)
    box.write(f"{other}/f", "old")
    assert len(set(box.run(["stat", "-c", "%d", folder, other]).stdout.split())) == 2

    box.copy(f"{folder}/d/f", f"{folder}/f")
    box.move(f"{folder}/f", f"{other}/f")
    box.move(f"{folder}/d/link", f"{other}/link")
    box.move(f"{folder}/d", f"{other}/new/d")

    assert box.list(folder) == []
    found = box.list(other, recursive=True)
    assert names_of(found) == ["f", "link", "new", "d", "f"]
    assert [(entry.mode, entry.mtime.timestamp()) for entry in found if entry.is_file] == [(0o751, 1e9)] * 2
    assert found[1].target == "f"
    box.remove(other, recursive=True)


def test_move_that_fails_on_a_full_disk_changes_nothing(namespace_box, single):
    box, other = namespace_box, f"/dev/shm/{single.rpartition('/')[2]}"
    content = "new" * 200_000
    box.write(f"{single}/f", content)
    box.write(f"{single}/d/f", content)
    box.write(f"{other}/f", "old\n")
    box.run(["sh", "-c", "head -c 200M /dev/zero >fill 2>&-; truncate -s -40960 fill"], cwd=other, check=True)
    try:
        for name in ("f", "d"):
            with pytest.raises(CagedPathError, match="No space left on device"):
                box.move(f"{single}/{name}", f"{other}/{name}")

        assert names_of(box.list(other)) == ["f", "fill"]
        assert box.read_text(f"{other}/f") == "old\n"
        assert box.read_text(f"{single}/f") == box.read_text(f"{single}/d/f") == content
    finally:
        box.remove(other, recursive=True)


def test_move_between_mounts_of_one_file_system_is_atomic(namespace_box, single):
    """`mv` falls back to a copy, for which it removes the old file first."""
    box, other = namespace_box, f"/tmp/{single.rpartition('/')[2]}"
    box.write(f"{single}/f", "new")
    box.write(f"{other}/f", "old")
    box.write(
        "/root/.local/bin/mv", '#!/bin/sh\n[ "${3%/*}" = "${4%/*}" ]||echo "$@" >/root/across\nexec /usr/bin/mv "$@"\n'
    )
    box.run("chmod 755 /root/.local/bin/mv", check=True)
    try:
        box.move(f"{single}/f", f"{other}/f")

        assert (box.read_text(f"{other}/f"), box.list(single), names_of(box.list(other))) == ("new", [], ["f"])
        assert not box.exists("/root/across")
    finally:
        box.run(["rm", "-rf", "/root/.local/bin/mv", "/root/across", other], check=True)


def test_directory_where_a_file_system_is_mounted_is_not_removed(namespace_box, single):
    box = namespace_box
    box.write(f"{single}/f", "x")
    box.write("/dev/shm/f", "x")
    for call, path in (
        (lambda: box.remove("/workspace", recursive=True), "/workspace"),
        (lambda: box.move("/dev/shm", f"{single}/shm"), "/dev/shm"),
    ):
        with pytest.raises(CagedPathError, match=f"mounted at {path}; nothing was changed") as caught:
            call()
        assert (caught.value.path, caught.value.errno) == (path, errno.EBUSY)

    assert names_of(box.list(single)) == ["f"]
    assert names_of(box.list("/dev/shm")) == ["f"]
    box.remove("/dev/shm/f")


def test_link_to_a_directory_is_neither_removed_nor_moved_as_one(namespace_box, single):
    box = namespace_box
    box.write(f"{single}/d/f", "x")
    box.write(f"{single}/g", "x")
    box.run(f"ln -s d {single}/l", check=True)

    for call in (
        lambda: box.remove(f"{single}/l/"),
        lambda: box.remove(f"{single}/l/", recursive=True),
        lambda: box.move(f"{single}/l/", f"{single}/m"),
    ):
        with pytest.raises(CagedNotADirectoryError) as caught:
            call()
        assert caught.value.path == f"{single}/l"
    with pytest.raises(CagedIsADirectoryError):
        box.move(f"{single}/g", f"{single}/l")

    assert names_of(box.list(single, recursive=True)) == ["d", "f", "g", "l"]
    box.remove(f"{single}/l")
    assert names_of(box.list(single)) == ["d", "g"]
