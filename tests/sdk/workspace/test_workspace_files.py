"""Files of a bound sandbox: contents of every kind and size, names of every kind, and errors that say what is wrong."""

from __future__ import annotations

import asyncio
import errno
import io
import itertools
import os
import pickle
import re
import shlex
import threading
from datetime import datetime, timezone
from pathlib import PurePosixPath

import pytest
from cases import each
from workspace_testing import SMALL, new_sandbox, on_shells, on_shells_and_clients

import caged
from caged import (
    CagedDirectoryNotEmptyError,
    CagedError,
    CagedFileExistsError,
    CagedFileNotFoundError,
    CagedIsADirectoryError,
    CagedNotADirectoryError,
    CagedNotFoundError,
    CagedPathError,
    CagedPermissionError,
    CagedSandboxError,
)
from caged._workspace.file_stat import parse
from caged._workspace.globs import ignoring
from caged._workspace.paths import path_error
from caged._workspace.pieces import PIECE
from caged.emulator import RemoteEmulator

DIFFICULT = "-rf '\"$HOME`id`*?[a]\\n\\\t;&#!~%s h\xe9 \u65e5\U0001f600\n\nend\n"
NAMES = (
    "a b", "-rf", "--", "it's", '"', "$HOME", "`id`", "*", "?", "[a]", "\\", "a\nb", "\n", "end\n", "\t", "h\xe9",
    "\u65e5\u672c", "\U0001f600", ".hidden", "..x", "...", "~", ";", "&", "#", "!", "%s", "\\n", "x" * 255,
)  # fmt: skip
_numbers = itertools.count()


@pytest.fixture
def folder(box):
    """An empty directory of the test's own."""
    path = f"/workspace/folder-{next(_numbers)}"
    box.mkdir(path)
    yield path
    box.remove(path, recursive=True)


@pytest.fixture
def cheap(process_box):
    """The same, in the cheapest sandbox alone: for what does not depend on the level."""
    path = f"/workspace/cheap-{next(_numbers)}"
    process_box.mkdir(path)
    yield path
    process_box.remove(path, recursive=True)


@pytest.fixture
def single(namespace_box):
    """The same, in the sandbox that sees no processes but its own alone."""
    path = f"/workspace/single-{next(_numbers)}"
    namespace_box.mkdir(path)
    yield path
    namespace_box.remove(path, recursive=True)


def paths_of(entries):
    return [entry.path for entry in entries]


def names_of(entries):
    return [entry.name for entry in entries]


# Contents


@on_shells
def test_bytes_are_exact(box, folder):
    contents = (b"", b"\0", b"\xff\xfe", b"no newline", b"a\r\nb\n", b"\n\n\n", b"@", bytes(range(256)) * 1000)
    for number, content in enumerate(contents):
        box.write(f"{folder}/{number}", content)

        assert box.read_bytes(f"{folder}/{number}") == content
        assert box.stat(f"{folder}/{number}").size == len(content)


@on_shells
def test_large_file_is_exact(small_pieces, box, folder):
    content = os.urandom(SMALL * 2 + 12345)

    box.write(f"{folder}/large", io.BytesIO(content))

    assert box.read_bytes(f"{folder}/large") == content
    assert names_of(box.list(folder)) == ["large"]


@each("size", [64 * 1024 - 1, 64 * 1024, 64 * 1024 + 1, PIECE - 1, PIECE, PIECE + 1])
def test_sizes_around_limits_are_exact(process_box, cheap, size):
    content = os.urandom(size)

    process_box.write(f"{cheap}/f", content)

    assert process_box.read_bytes(f"{cheap}/f") == content


@each(
    "content, expected",
    [
        ("h\xe9\u65e5\U0001f600\r\n", "h\xe9\u65e5\U0001f600\r\n".encode()),
        (bytearray(b"\0x"), b"\0x"),
        (memoryview(b"\0y"), b"\0y"),
        (io.BytesIO(b"bytes"), b"bytes"),
        (io.StringIO("t\xe9xt"), b"t\xc3\xa9xt"),
    ],
)
def test_every_kind_of_content_is_written(process_box, cheap, content, expected):
    process_box.write(f"{cheap}/f", content)

    assert process_box.read_bytes(f"{cheap}/f") == expected


def test_open_file_is_read_from_where_it_stands(process_box, cheap, tmp_path):
    (tmp_path / "f").write_bytes(b"0123456789")
    with (tmp_path / "f").open("rb") as file:
        file.seek(4)
        process_box.write(f"{cheap}/f", file)

    assert process_box.read_bytes(f"{cheap}/f") == b"456789"


@each("content", [5, None, ["a"], object(), PurePosixPath("a")])
def test_content_of_another_type_is_refused(process_box, cheap, content):
    with pytest.raises(CagedError, match="content must be str, bytes or an open file, not"):
        process_box.write(f"{cheap}/f", content)


def test_open_file_that_cannot_be_read_leaves_old_content_and_nothing_else(process_box, cheap):
    class Failing:
        def __init__(self):
            self.pieces = [b"x" * PIECE, OSError("the disk is broken")]

        def read(self, _size):
            piece = self.pieces.pop(0)
            if isinstance(piece, Exception):
                raise piece
            return piece

    process_box.write(f"{cheap}/f", "old")

    with pytest.raises(CagedError, match="the disk is broken"):
        process_box.write(f"{cheap}/f", Failing())

    assert process_box.read_text(f"{cheap}/f") == "old"
    assert names_of(process_box.list(cheap)) == ["f"]


@each("call", [lambda box, file: box.write("s", file), lambda box, file: box.run("cat", stdin=file)])
def test_text_that_is_not_unicode_is_refused(process_box, call):
    with pytest.raises(CagedError, match="the file gives text that UTF-8 cannot encode: "):
        call(process_box, io.StringIO("\udcff"))


@each(
    "program, call",
    [
        ("stat", lambda box: box.read_bytes("f")),
        ("wc", lambda box: box.list()),
        ("wc", lambda box: box.run("head -c 300000 /dev/zero")),
    ],
)
def test_number_that_is_none_is_an_error(namespace_box, program, call):
    box, path = namespace_box, f"/root/.local/bin/{program}"
    box.write("f", "x")
    box.write(path, "#!/bin/sh\necho many\n")
    box.run(["chmod", "755", path], check=True)
    try:
        with pytest.raises(CagedError, match="may have been replaced"):
            call(box)
    finally:
        box.exec(f"rm {path}")
        box.remove("f")


def test_large_file_whose_first_answer_is_lost_leaves_nothing(places, namespace_box, single, tmp_path):
    box, served = namespace_box, places.served("namespace-sync")
    (tmp_path / "d").mkdir()
    box.write(f"{single}/old/f", "old")
    box.run("ln -s old/f link", cwd=single, check=True)
    with RemoteEmulator(served.base_url, served.admin_key) as emulator:
        for call in (
            lambda: box.write(f"{single}/f", bytes(100_000)),
            lambda: box.write(f"{single}/link", bytes(100_000)),
            lambda: box.upload(tmp_path / "d", f"{single}/d"),
            lambda: box.upload(tmp_path / "d", f"{single}/old"),
        ):
            with emulator.faults.add("sandboxes.exec", times=1, drop="after"), pytest.raises(CagedError):
                call()
            assert names_of(box.list(single, recursive=True)) == ["link", "old", "f"]


def test_file_that_becomes_shorter_while_it_is_read_has_no_piece_twice(namespace_box, single, monkeypatch):
    content = os.urandom(7000)
    namespace_box.write(f"{single}/f", content)
    monkeypatch.setattr("caged._workspace.files.PIECE", 2000)
    whole = caged._workspace.files.next_piece

    def shortened(binding, path, number):
        yield from binding.execute("become shorter", f"head -c 3000 {path} >{path}2;mv {path}2 {path}")
        return (yield from whole(binding, path, number))

    monkeypatch.setattr("caged._workspace.files.next_piece", shortened)

    assert namespace_box.read_bytes(f"{single}/f") == content[:3000]


def test_text_is_decoded(process_box, cheap):
    process_box.write(f"{cheap}/utf8", "h\xe9\r\n")
    process_box.write(f"{cheap}/latin", b"h\xe9")

    assert process_box.read_text(f"{cheap}/utf8") == "h\xe9\r\n"
    assert process_box.read_text(f"{cheap}/latin", "latin-1") == "h\xe9"
    with pytest.raises(CagedPathError, match="read_bytes") as caught:
        process_box.read_text(f"{cheap}/latin")
    assert caught.value.path == f"{cheap}/latin"
    with pytest.raises(CagedError, match="encoding 'no' is unknown"):
        process_box.read_text(f"{cheap}/utf8", "no")


def test_file_of_proc_is_read(process_box):
    assert process_box.read_bytes("/proc/self/comm").strip()


# Names


def test_difficult_name_is_written_read_listed_moved_copied_and_removed(box, folder):
    path, other = f"{folder}/{DIFFICULT}/{DIFFICULT}", f"{folder}/{DIFFICULT}/other"
    box.write(path, "x")
    box.run(["ln", "-s", "--", DIFFICULT, f"{folder}/{DIFFICULT}/link"], check=True)

    found = box.list(folder, recursive=True)
    assert paths_of(found) == [f"{folder}/{DIFFICULT}", path, f"{folder}/{DIFFICULT}/link"]
    assert found[-1].target == DIFFICULT
    assert (box.read_text(path), box.exists(path), box.stat(path).path) == ("x", True, path)
    box.move(path, other)
    box.copy(other, path)
    box.remove(other)
    assert box.read_text(path) == "x"
    box.remove(f"{folder}/{DIFFICULT}", recursive=True)
    assert box.list(folder) == []


def test_every_name_is_written_listed_and_read(process_box, cheap):
    for name in NAMES:
        process_box.write(f"{cheap}/{name}", name)
    links = [["ln", "-s", "--", name, f"{cheap}/link-{number}"] for number, name in enumerate(NAMES)]
    process_box.run("\n".join(map(shlex.join, links)), check=True)

    found = process_box.list(cheap)

    assert {entry.name for entry in found if entry.is_file} == set(NAMES)
    assert {entry.target for entry in found if entry.is_symlink} == set(NAMES)
    for name in NAMES:
        assert process_box.read_text(f"{cheap}/{name}") == name


def test_relative_path_is_below_workspace(process_box, cheap):
    name = cheap.rpartition("/")[2]

    process_box.write(f"{name}/f", "x")
    process_box.write(PurePosixPath(name, "g"), "y")

    assert process_box.read_text(f"{cheap}/f") == process_box.read_text(PurePosixPath(cheap, "f")) == "x"
    assert process_box.run("cat g", cwd=cheap).stdout == "y"
    assert paths_of(process_box.list(f"{name}//")) == [f"{cheap}/f", f"{cheap}/g"]
    assert f"{cheap}" in paths_of(process_box.list())


@each(
    "path, message",
    [
        ("", "path is empty"),
        ("a\0b", "NUL"),
        (5, "path must be a str"),
        (b"a", "path must be a str"),
        (None, "path must"),
    ],
)
def test_invalid_path_is_refused(process_box, path, message):
    for call in ("read_bytes", "read_text", "exists", "stat", "list", "mkdir", "remove"):
        with pytest.raises(CagedError, match=message):
            getattr(process_box, call)(path)
    with pytest.raises(CagedError, match=message):
        process_box.write(path, "")
    for pair in ((path, "/workspace/x"), ("/workspace/x", path)):
        for call in ("move", "copy"):
            with pytest.raises(CagedError, match=message.replace("path", "(source|target)")):
                getattr(process_box, call)(*pair)


# Writing


@on_shells
def test_write_makes_parents_and_keeps_mode_of_file(box, folder):
    box.write(f"{folder}/a/b/c", "1")
    assert box.stat(f"{folder}/a/b/c").mode == 0o644
    box.run(["chmod", "751", f"{folder}/a/b/c"], check=True)

    box.write(f"{folder}/a/b/c", "2")
    assert (box.read_text(f"{folder}/a/b/c"), box.stat(f"{folder}/a/b/c").mode) == ("2", 0o751)
    box.write(f"{folder}/a/b/c", b"3" * 100_000)

    assert box.stat(f"{folder}/a/b/c").mode == 0o751
    assert box.stat(f"{folder}/a/b/c").size == 100_000


@on_shells
def test_write_replaces_file_in_one_step(box, folder):
    box.write(f"{folder}/f", "old")
    # A program that has the file open keeps the old one, which is whole.
    result = box.run(
        f"exec 3<{folder}/f; ln {folder}/f {folder}/other",
        check=True,
    )
    assert result.ok

    box.write(f"{folder}/f", "new")

    assert (box.read_text(f"{folder}/f"), box.read_text(f"{folder}/other")) == ("new", "old")
    assert names_of(box.list(folder)) == ["f", "other"]


def test_readers_see_old_or_new_content(process_box, cheap):
    contents = {b"a" * 200_000, b"b" * 200_000}
    process_box.write(f"{cheap}/f", b"a" * 200_000)
    seen = set()
    done = threading.Event()

    def read():
        while not done.is_set():
            seen.add(process_box.read_bytes(f"{cheap}/f"))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for _ in range(4):
            for content in contents:
                process_box.write(f"{cheap}/f", content)
    finally:
        done.set()
        reader.join(60)

    assert seen
    assert seen <= contents


@on_shells
def test_write_through_link_keeps_link(box, folder):
    box.write(f"{folder}/d/f\n", "old")
    box.run(["ln", "-s", "d/f\n", f"{folder}/link"], check=True)
    box.run(["ln", "-s", "new", f"{folder}/dangling"], check=True)

    box.write(f"{folder}/link", "new")
    box.write(f"{folder}/dangling", "made")

    assert (box.read_text(f"{folder}/d/f\n"), box.read_text(f"{folder}/new")) == ("new", "made")
    assert box.stat(f"{folder}/link", follow_symlinks=False).target == "d/f\n"
    assert names_of(box.list(f"{folder}/d")) == ["f\n"]


# What cannot be


@on_shells
def test_wrong_paths_are_errors_with_pythons_own_types(box, folder):
    box.write(f"{folder}/f", "x")
    box.write(f"{folder}/d/e", "x")
    box.run(["mkfifo", f"{folder}/pipe"], check=True)
    box.run(["ln", "-s", "missing", f"{folder}/dangling"], check=True)
    missing, file, directory, pipe = (f"{folder}/{name}" for name in ("missing", "f", "d", "pipe"))
    below = f"{file}/x"
    cases = [
        (lambda: box.read_bytes(missing), CagedFileNotFoundError, FileNotFoundError, missing),
        (lambda: box.read_bytes(f"{folder}/dangling"), CagedFileNotFoundError, FileNotFoundError, f"{folder}/dangling"),
        (lambda: box.read_text(directory), CagedIsADirectoryError, IsADirectoryError, directory),
        (lambda: box.read_bytes(below), CagedNotADirectoryError, NotADirectoryError, below),
        (lambda: box.read_bytes(pipe), CagedPathError, OSError, pipe),
        (lambda: box.write(directory, "x"), CagedIsADirectoryError, IsADirectoryError, directory),
        (lambda: box.write(directory, b"x" * 100_000), CagedIsADirectoryError, IsADirectoryError, directory),
        (lambda: box.write(f"{missing}/", "x"), CagedIsADirectoryError, IsADirectoryError, missing),
        (lambda: box.write(below, "x"), CagedNotADirectoryError, NotADirectoryError, below),
        (lambda: box.write(f"{below}/y", "x"), CagedNotADirectoryError, NotADirectoryError, f"{below}/y"),
        (lambda: box.write(f"{below}/y", b"x" * 100_000), CagedNotADirectoryError, NotADirectoryError, f"{below}/y"),
        (lambda: box.write(pipe, "x"), CagedPathError, OSError, pipe),
        (lambda: box.stat(missing), CagedFileNotFoundError, FileNotFoundError, missing),
        (lambda: box.stat(missing, follow_symlinks=False), CagedFileNotFoundError, FileNotFoundError, missing),
        (lambda: box.stat(below), CagedNotADirectoryError, NotADirectoryError, below),
        (lambda: box.list(missing), CagedFileNotFoundError, FileNotFoundError, missing),
        (lambda: box.list(file), CagedNotADirectoryError, NotADirectoryError, file),
        (lambda: box.mkdir(directory), CagedFileExistsError, FileExistsError, directory),
        (lambda: box.mkdir(directory, parents=True), CagedFileExistsError, FileExistsError, directory),
        (lambda: box.mkdir(file, exist_ok=True), CagedFileExistsError, FileExistsError, file),
        (lambda: box.mkdir(f"{missing}/x"), CagedFileNotFoundError, FileNotFoundError, f"{missing}/x"),
        (lambda: box.mkdir(below), CagedNotADirectoryError, NotADirectoryError, below),
        (lambda: box.mkdir(f"{below}/y", parents=True), CagedNotADirectoryError, NotADirectoryError, f"{below}/y"),
        (lambda: box.remove(missing), CagedFileNotFoundError, FileNotFoundError, missing),
        (lambda: box.remove(missing, recursive=True), CagedFileNotFoundError, FileNotFoundError, missing),
        (lambda: box.remove(directory), CagedDirectoryNotEmptyError, OSError, directory),
        (lambda: box.remove(below), CagedNotADirectoryError, NotADirectoryError, below),
        (lambda: box.move(missing, f"{folder}/x"), CagedFileNotFoundError, FileNotFoundError, missing),
        (lambda: box.move(file, directory), CagedIsADirectoryError, IsADirectoryError, directory),
        (lambda: box.move(directory, file), CagedFileExistsError, FileExistsError, file),
        (lambda: box.move(directory, f"{directory}/x"), CagedPathError, OSError, directory),
        (lambda: box.move(directory, f"{below}/y"), CagedNotADirectoryError, NotADirectoryError, f"{below}/y"),
        (lambda: box.copy(missing, f"{folder}/x"), CagedFileNotFoundError, FileNotFoundError, missing),
        (lambda: box.copy(file, directory), CagedIsADirectoryError, IsADirectoryError, directory),
        (lambda: box.copy(directory, file), CagedFileExistsError, FileExistsError, file),
        (lambda: box.copy(directory, f"{directory}/x/y"), CagedPathError, OSError, directory),
        (lambda: box.copy(pipe, f"{folder}/x"), CagedPathError, OSError, pipe),
    ]
    for number, (call, kind, python_kind, path) in enumerate(cases):
        with pytest.raises(CagedPathError) as caught:
            call()
        error = caught.value
        assert type(error) is kind, (number, error)
        assert isinstance(error, python_kind)
        assert isinstance(error, CagedError)
        assert (error.path, error.filename) == (path, path), (number, error)
        assert path in str(error)
    box.remove(f"{folder}/x", recursive=True, missing_ok=True)
    assert names_of(box.list(folder)) == ["d", "dangling", "f", "pipe"]
    assert box.read_text(file) == "x"


@each(
    "said, kind, number",
    [
        ("base64: /x: No such file or directory", CagedFileNotFoundError, errno.ENOENT),
        ("stat: cannot statx '/x': Not a directory", CagedNotADirectoryError, errno.ENOTDIR),
        ("mv: can't rename '/x': Permission denied\n", CagedPermissionError, errno.EACCES),
        (
            "rm: cannot remove '/: File exists': Operation not permitted",
            CagedPermissionError,
            errno.EACCES,
        ),
        ("rmdir: '/x': Directory not empty", CagedDirectoryNotEmptyError, errno.ENOTEMPTY),
        ("mkdir: can't create directory '/a\nb': File exists", CagedFileExistsError, errno.EEXIST),
        ("base64: read error: Is a directory", CagedIsADirectoryError, errno.EISDIR),
        ("base64: write error: No space left on device", CagedPathError, None),
        ("", CagedPathError, None),
    ],
)
def test_reason_of_operating_system_becomes_type_of_error(said, kind, number):
    error = path_error("cannot use", "/x", said)

    assert (type(error), error.errno, error.path) == (kind, number, "/x")
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), again.errno, again.path, again.filename, str(again)) == (kind, number, "/x", "/x", str(error))
    if kind is CagedPathError:
        assert (said.rpartition(": ")[2] or "gave no reason") in str(error)


def test_slash_behind_the_name_of_a_file_is_an_error(namespace_box, single):
    box, file = namespace_box, f"{single}/f"
    box.write(file, "x")
    box.run(f"ln -s f {single}/l; mkdir {single}/d; ln -s d {single}/to-d", check=True)
    calls = {
        "read_bytes": lambda path: box.read_bytes(path),
        "stat": lambda path: box.stat(path),
        "stat of a link": lambda path: box.stat(path, follow_symlinks=False),
        "list": lambda path: box.list(path),
        "remove": lambda path: box.remove(path, recursive=True, missing_ok=True),
        "write": lambda path: box.write(path, "y"),
        "move": lambda path: box.move(path, f"{single}/x"),
        "move to": lambda path: box.move(f"{single}/d", path),
        "copy": lambda path: box.copy(path, f"{single}/x"),
        "copy to": lambda path: box.copy(f"{single}/d", path),
        "download": lambda path: box.download(path, "/nowhere/x"),
        "upload": lambda path: box.upload(__file__, path),
    }
    for what, call in calls.items():
        for name in ("f", "l"):
            with pytest.raises(CagedNotADirectoryError) as caught:
                call(f"{single}/{name}/")
            assert caught.value.path == f"{single}/{name}", what
    assert [box.exists(f"{single}/{name}/") for name in ("f", "l", "d", "to-d")] == [False, False, True, True]
    assert box.stat(f"{single}/to-d/").is_dir
    assert names_of(box.list(single)) == ["d", "f", "l", "to-d"]
    assert box.read_text(file) == "x"


def test_name_that_is_too_long_is_an_error_and_makes_nothing(namespace_box, single):
    box, long = namespace_box, "n" * 256
    box.write(f"{single}/f", "x")
    paths = [f"{single}/new/{long}", f"{single}/new/\xe9{long[2:]}x", f"{single}/{long}/f", f"{single}/{'d/' * 2100}f"]
    for path in paths:
        for call in (
            lambda path: box.write(path, "x"),
            lambda path: box.write(path, bytes(100_000)),
            lambda path: box.mkdir(path, parents=True),
            lambda path: box.move(f"{single}/f", path),
            lambda path: box.copy(f"{single}/f", path),
            lambda path: box.upload(__file__, path),
            lambda path: box.upload(os.path.dirname(__file__), path),
        ):
            with pytest.raises(CagedPathError, match="file name too long") as caught:
                call(path)
            assert caught.value.path == path
    for call in (box.read_bytes, box.stat, box.list, box.remove):
        with pytest.raises(CagedPathError, match=r"file name too long$"):
            call(f"{single}/{long}")
    assert not box.exists(f"{single}/{long}")
    box.write(f"{single}/{long[1:]}", "fits")
    assert names_of(box.list(single, recursive=True)) == ["f", long[1:]]


def test_file_in_place_of_scratch_directory_is_what_the_error_is_about(places):
    with new_sandbox(places.served("namespace-sync")) as sandbox_id:
        box = places.bind("namespace-sync", sandbox_id, "sync")
        box.write("f", "x")
        box.exec("rm -rf /tmp/.caged-sdk; echo planted >/tmp/.caged-sdk")

        for call in (lambda: box.list(), lambda: box.write("g", bytes(100_000)), lambda: box.upload(__file__, "g")):
            with pytest.raises(CagedSandboxError, match=r"/tmp/\.caged-sdk.?: File exists"):
                call()

        assert box.read_text("f") == "x"
        assert not box.exists("g")


def test_forbidden_file_is_a_permission_error(emulators):
    """In a sandbox of an ordinary user, files of the kernel are root's of the machine, and nothing can change them."""
    served = emulators("namespace-user" if os.geteuid() == 0 else "namespace")
    with served.sandbox() as sandbox_id:
        box = served.client.sandboxes.bind(sandbox_id)
        for call in (lambda: box.read_bytes("/proc/kmsg"), lambda: box.write("/proc/kmsg", "x")):
            with pytest.raises(PermissionError) as caught:
                call()
            assert type(caught.value) is CagedPermissionError
            assert (caught.value.path, caught.value.errno) == ("/proc/kmsg", errno.EACCES)


def test_unknown_sandbox_is_not_a_path_error(client):
    with pytest.raises(CagedNotFoundError):
        client.sandboxes.bind("cage_none").read_bytes("f")


# Looking


@on_shells_and_clients
def test_stat_returns_every_field(box, folder):
    box.write(f"{folder}/f", "12345")
    box.run(f"chmod 640 {folder}/f; touch -d @1000000000 {folder}/f; ln -s f {folder}/l; mkfifo {folder}/p", check=True)

    file, link, itself = (
        box.stat(f"{folder}/f"),
        box.stat(f"{folder}/l"),
        box.stat(f"{folder}/l", follow_symlinks=False),
    )

    assert (file.type, file.size, file.mode, file.target) == ("file", 5, 0o640, None)
    assert file.mtime == datetime(2001, 9, 9, 1, 46, 40, tzinfo=timezone.utc)
    assert (
        f"{file.uid} {file.gid} {file.owner} {file.group}"
        == box.run("id -u; id -g; id -un; id -gn").stdout.replace("\n", " ").strip()
    )
    assert (link.type, link.size, link.path) == ("file", 5, f"{folder}/l")
    assert (itself.type, itself.target, itself.is_symlink) == ("symlink", "f", True)
    assert (box.stat(folder).type, box.stat(f"{folder}/p").type, box.stat("/").name) == ("directory", "other", "")
    assert [entry.type for entry in box.list(folder)] == ["file", "symlink", "other"]
    assert box.list(folder)[0] == file


@on_shells
def test_exists_follows_links(box, folder):
    box.write(f"{folder}/f", "")
    box.run(f"cd {folder}; ln -s f l; ln -s none n; ln -s loop loop", check=True)

    existing = [name for name in ("f", "l", "n", "loop", "f/x", "none", ".", "") if box.exists(f"{folder}/{name}")]

    assert existing == ["f", "l", ".", ""]


@on_shells
def test_list_is_sorted_and_recursive_on_demand(box, folder):
    for path in ("b", "a/b/c", "a/x", "a.b", ".h/z"):
        box.write(f"{folder}/{path}", "")
    box.run(f"cd {folder}; mkdir empty; ln -s a link", check=True)

    shallow = [entry.path[len(folder) + 1 :] for entry in box.list(folder)]
    deep = [entry.path[len(folder) + 1 :] for entry in box.list(folder, recursive=True)]

    assert shallow == [".h", "a", "a.b", "b", "empty", "link"]
    assert deep == [".h", ".h/z", "a", "a/b", "a/b/c", "a/x", "a.b", "b", "empty", "link"]
    assert names_of(box.list(f"{folder}/link")) == ["b", "x"]
    assert box.list(f"{folder}/empty") == []


def test_list_has_each_name_that_is_not_utf8(namespace_box, single):
    namespace_box.run('for o in 376 377; do : >"$(printf "\\\\$o")"; done', cwd=single, check=True)

    assert names_of(namespace_box.list(single)) == ["\ufffd", "\ufffd"]


@each("seconds, year", [(300_000_000_000, 9999), (-70_000_000_000, 1), (-1, 1969)])
def test_time_that_no_datetime_has_is_the_nearest(seconds, year):
    (known,) = parse(f"\nkeyS81a4 1 {seconds} 0 0 root root /x\n", "key")
    assert known.mtime.year == year


@on_shells
def test_list_of_many_entries_is_complete(box, folder):
    box.run(f"cd {folder}; mkdir d; for i in $(seq 130); do : >$i; : >d/$i; done", check=True)

    assert len(box.list(folder)) == 131
    assert len(box.list(folder, recursive=True, glob="[0-9]*")) == 260


def test_list_is_read_in_pages(process_box, cheap, monkeypatch):
    monkeypatch.setattr("caged._workspace.directory_listing._LINES", 7)
    for number in range(20):
        process_box.write(f"{cheap}/a\n{number}", "")

    assert len(process_box.list(cheap)) == 20


@each(
    "pattern, expected",
    [
        ("*.py", ["a.py"]),
        ("?.txt", ["b.txt"]),
        ("*", [".h", "a.py", "b.txt", "d"]),
        ("[!a]*", [".h", "b.txt", "d"]),
        ("none", []),
        ("d/*.py", ["d/c.py"]),
        ("**/*.py", ["a.py", "d/c.py", "d/e/f.py"]),
        ("d/**", ["d/c.py", "d/e", "d/e/f.py"]),
        ("*/*/*.py", ["d/e/f.py"]),
    ],
)
def test_glob_selects(process_box, pattern, expected):
    folder = "/workspace/globs"
    if not process_box.exists(folder):
        for path in ("a.py", "b.txt", "d/c.py", "d/e/f.py", ".h"):
            process_box.write(f"{folder}/{path}", "")

    assert paths_of(process_box.list(folder, glob=pattern)) == [f"{folder}/{path}" for path in expected]


@each(
    "pattern, path, expected",
    [
        ("*.pyc", "a/b.pyc", True),
        ("a", "a/b/c", True),
        ("b", "a/b/c", True),
        ("a/b", "a/b/c", True),
        ("a/*", "a/b", True),
        ("b/c", "a/b/c", False),
        ("**/c", "a/b/c", True),
        ("**/c", "c", True),
        ("a/**/c", "a/c", True),
        ("a*c/d", "a/c/d", False),
        ("a?c/d", "a/c/d", False),
        ("a[!x]c/d", "a/c/d", False),
        ("a\nb", "a\nb", True),
        ("*/", "a", True),
        ("[]a]", "]", True),
        ("[a-c^]x", "^x", True),
        ("[!]]", "]", False),
        ("[[]", "[", True),
        ("a.c", "abc", False),
    ],
)
def test_pattern_ignores(pattern, path, expected):
    assert ignoring([pattern])(path) is expected


# Directories


def test_mkdir_makes_parents_and_accepts_existing_on_demand(box, folder):
    box.mkdir(f"{folder}/a/b/", parents=True)
    box.mkdir(f"{folder}/a/b", exist_ok=True)
    box.mkdir(f"{folder}/a/b", parents=True, exist_ok=True)

    assert box.stat(f"{folder}/a/b").is_dir


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
        assert caught.value.path == path

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


@each(
    "call, argument",
    [
        (lambda box: box.list(recursive=1), "recursive"),
        (lambda box: box.list(glob=5), "glob"),
        (lambda box: box.mkdir("x", parents=1), "parents"),
        (lambda box: box.mkdir("x", exist_ok="yes"), "exist_ok"),
        (lambda box: box.remove("x", recursive=None), "recursive"),
        (lambda box: box.remove("x", missing_ok=1), "missing_ok"),
        (lambda box: box.stat("x", follow_symlinks=0), "follow_symlinks"),
        (lambda box: box.read_text("x", encoding=None), "encoding"),
    ],
)
def test_option_of_another_type_is_refused(process_box, call, argument):
    with pytest.raises(CagedError, match=f"{argument} must be"):
        call(process_box)


def test_local_file_is_read_beside_event_loop(client, process_box, cheap):
    """A source that blocks does not stop the event loop."""

    async def main():
        ticking = asyncio.Event()
        loop = asyncio.get_running_loop()

        class Slow:
            def __init__(self):
                self.pieces = [b"x", b""]

            def read(self, _size):
                # Only a loop that runs meanwhile can set the event.
                asyncio.run_coroutine_threadsafe(set_event(), loop).result(60)
                return self.pieces.pop(0)

        async def set_event():
            ticking.set()

        async with caged.AsyncCaged(api_key=client_key, base_url=client_url) as other:
            await other.sandboxes.bind(process_box.id).write(f"{cheap}/slow", Slow())
        assert ticking.is_set()

    settings = client._session.settings
    client_key, client_url = settings.api_key, settings.base_url
    asyncio.run(main())

    assert process_box.read_bytes(f"{cheap}/slow") == b"x"


@each("pattern", ["[z-a]", "a/[b-a]", "", "/", ".", "./", "[", "a[!", "a[/]b", "..", "a/../b"])
def test_invalid_pattern_is_refused(process_box, pattern):
    with pytest.raises(CagedError, match=f"^{re.escape(repr(pattern))} is not a pattern: "):
        process_box.list(glob=pattern)
    with pytest.raises(CagedError, match="is not a pattern"):
        ignoring([pattern])


@each("pattern", ["/workspace/*", "/*"])
def test_absolute_pattern_is_refused(process_box, pattern):
    with pytest.raises(CagedError, match="begins with a slash; it is compared with the path below '/workspace'"):
        process_box.list(glob=pattern)


def test_shell_that_prints_before_a_script_does_not_matter(client):
    with client.sandboxes.open(env={"LC_ALL": "xx_XX.UTF-8", "TAR_OPTIONS": "--exclude=*"}) as box:
        box.write("f", "1")
        assert box.read_text("f") == "1"
        assert [entry.name for entry in box.list()] == ["f"]
        assert box.start("exit 3").wait() == 3
