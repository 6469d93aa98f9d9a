"""Uploads and downloads that fail half way, or are cancelled, leave no half files."""

from __future__ import annotations

import asyncio
import io
import os

import pytest
from cases import each
from leftovers import until
from transfer_testing import failing, look, replace_program
from workspace_testing import SMALL

from caged import AsyncCaged, Caged, CagedError, CagedIsADirectoryError, CagedPathError
from caged._workspace import pieces
from caged._workspace.scratch import SCRATCH


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


def test_piece_that_arrives_after_the_interruption_is_removed_later(small_pieces, namespace_box, single, monkeypatch):
    paths = []

    def interrupted(_sandbox_id, path, _text):
        paths.append(path)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(pieces, "write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            namespace_box.write(f"{single}/f", bytes(SMALL + 1))
    (path,) = paths
    namespace_box.write(path, "late")
    for _ in range(17):
        namespace_box.run("true")

    until(lambda: not namespace_box.exists(path))


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
