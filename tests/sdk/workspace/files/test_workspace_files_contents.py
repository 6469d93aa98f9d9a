"""Contents of every kind and size, read and written in one step."""

from __future__ import annotations

import asyncio
import io
import os
import threading
from pathlib import PurePosixPath

import pytest
from cases import each
from files_testing import names_of
from workspace_testing import SMALL, new_sandbox, on_shells

import caged
from caged import CagedError, CagedPathError
from caged._workspace.pieces import PIECE
from caged.emulator import RemoteEmulator


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


def test_content_that_arrives_in_part_is_an_error(places):
    with new_sandbox(places.served("namespace-sync"), env={"BASH_ENV": "/root/file"}) as sandbox_id:
        box = places.bind("namespace-sync", sandbox_id, "sync")
        box.write("f", "old content")
        # As where the program is killed before its end.
        box.exec("""echo 'tr() { command tr "$@" | head -c 4; }' >/root/file""")
        with pytest.raises(CagedPathError, match="has not arrived whole"):
            box.write("f", "new content")
        box.exec("rm /root/file")

        assert box.read_text("f") == "old content"
        assert [entry.name for entry in box.list()] == ["f"]


def test_shell_that_prints_before_a_script_does_not_matter(client):
    with client.sandboxes.open(env={"LC_ALL": "xx_XX.UTF-8", "TAR_OPTIONS": "--exclude=*"}) as box:
        box.write("f", "1")
        assert box.read_text("f") == "1"
        assert [entry.name for entry in box.list()] == ["f"]
        assert box.start("exit 3").wait() == 3
