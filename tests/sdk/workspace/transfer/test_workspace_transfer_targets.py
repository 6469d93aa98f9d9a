"""What is at the target of an upload or a download: joined, replaced or left alone. And arguments that are errors."""

from __future__ import annotations

import errno
import functools
import os
import stat
import threading

import pytest
from cases import each
from transfer_testing import look
from workspace_testing import on_shells

from caged import CagedError, CagedFileNotFoundError, CagedIsADirectoryError, CagedNotADirectoryError, CagedPathError


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
        ({"ignore": ["*.py", "!keep.py"]}, r"ignore has '!keep.py', but takes nothing back; .* '\*\*/!keep.py'"),
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
