"""Names of every kind, and errors that say what is wrong with a path."""

from __future__ import annotations

import errno
import os
import pickle
import re
import shlex
from pathlib import PurePosixPath

import pytest
from cases import each
from files_testing import names_of, paths_of
from workspace_testing import new_sandbox, on_shells

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
from caged._workspace.paths import path_error

DIFFICULT = "-rf '\"$HOME`id`*?[a]\\n\\\t;&#!~%s h\xe9 \u65e5\U0001f600\n\nend\n"

NAMES = (
    "a b", "-rf", "--", "it's", '"', "$HOME", "`id`", "*", "?", "[a]", "\\", "a\nb", "\n", "end\n", "\t", "h\xe9",
    "\u65e5\u672c", "\U0001f600", ".hidden", "..x", "...", "~", ";", "&", "#", "!", "%s", "\\n", "x" * 255,
)  # fmt: skip


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
        ("base64: write error: No space left on device", CagedPathError, errno.ENOSPC),
        ("stat: can't stat '/x': Symbolic link loop", CagedPathError, errno.ELOOP),
        ("touch: /x: Filename too long", CagedPathError, errno.ENAMETOOLONG),
        ("refused: tar is not installed", CagedPathError, None),
        ("", CagedPathError, None),
    ],
)
def test_reason_of_operating_system_becomes_type_of_error(said, kind, number):
    error = path_error("cannot use", "/x", said)

    assert (type(error), error.errno, error.path) == (kind, number, "/x")
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), again.errno, again.path, again.filename, str(again)) == (kind, number, "/x", "/x", str(error))
    if kind is CagedPathError:
        assert (said.rpartition(": ")[2] or "gave no reason").lower() in str(error).lower()


@on_shells
def test_path_error_without_a_type_of_its_own_has_the_errno(box, folder):
    loop, long, pipe, directory = (f"{folder}/{name}" for name in ("loop", "n" * 256, "pipe", "d"))
    box.run(f"ln -s loop {loop}; mkfifo {pipe}; mkdir {directory}", check=True)
    cases = [
        (lambda: box.read_bytes(loop), errno.ELOOP),
        (lambda: box.write(loop, "x"), errno.ELOOP),
        (lambda: box.stat(loop), errno.ELOOP),
        (lambda: box.list(loop), errno.ELOOP),
        (lambda: box.copy(loop, f"{folder}/x"), errno.ELOOP),
        (lambda: box.stat(long), errno.ENAMETOOLONG),
        (lambda: box.write(long, "x"), errno.ENAMETOOLONG),
        (lambda: box.read_bytes("/dev/null"), errno.EINVAL),
        (lambda: box.write(pipe, "x"), errno.EINVAL),
        (lambda: box.download(pipe, "/nowhere/x"), errno.EINVAL),
        (lambda: box.copy(directory, f"{directory}/x"), errno.EINVAL),
        (lambda: box.move(directory, f"{directory}/x"), errno.EINVAL),
        (lambda: box.remove(f"{directory}/."), errno.EINVAL),
        (lambda: box.remove(f"{directory}/..", recursive=True), errno.EINVAL),
    ]
    for index, (call, code) in enumerate(cases):
        with pytest.raises(CagedPathError) as caught:
            call()
        assert (type(caught.value), caught.value.errno) == (CagedPathError, code), (index, caught.value)
        assert caught.value.strerror == os.strerror(code)
        if code == errno.ELOOP:
            assert re.search(r"'[^']*loop': (too many levels of symbolic links|symbolic link loop)$", str(caught.value))
    assert names_of(box.list(folder)) == ["d", "loop", "pipe"]


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
