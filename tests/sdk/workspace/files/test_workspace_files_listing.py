"""stat(), exists() and list(), and the patterns that select and leave out entries."""

from __future__ import annotations

import re
from datetime import datetime, timezone

import pytest
from cases import each
from files_testing import names_of, paths_of
from workspace_testing import on_shells, on_shells_and_clients

from caged import CagedError
from caged._workspace.file_stat import parse
from caged._workspace.globs import ignoring


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
def test_root_lists_a_directory_whatever_its_mode_is(box, folder):
    box.write(f"{folder}/d/f", "")
    box.run(f"chmod 000 {folder}/d", check=True)

    assert names_of(box.list(folder, recursive=True)) == ["d", "f"]


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
