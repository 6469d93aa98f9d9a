"""The behaviours of a session of the Agents SDK: of its local backend, and of a sandbox.

The Agents SDK has no suite for other backends. `own_backend.py` runs these tests with its local one.
"""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import pytest
from agents.sandbox.entries import Dir, File
from agents.sandbox.errors import (
    ExecTimeoutError,
    ExposedPortUnavailableError,
    InvalidManifestPathError,
    WorkspaceArchiveReadError,
    WorkspaceReadNotFoundError,
    WorkspaceWriteTypeError,
)
from agents.sandbox.manifest import Environment, Manifest
from agents.sandbox.session import SandboxSession
from agents.sandbox.snapshot import LocalSnapshotSpec

pytestmark = pytest.mark.anyio

ALL_BYTES = bytes(range(256)) * 3


def archive(**files: bytes) -> io.BytesIO:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    content.seek(0)
    return content


async def content(session: SandboxSession, path: str) -> Any:
    return (await session.read(Path(path))).read()


async def write(session: SandboxSession, path: str, data: bytes) -> None:
    await session.write(Path(path), io.BytesIO(data))


async def test_exec_separates_streams_and_keeps_the_exit_code(session: SandboxSession) -> None:
    result = await session.exec("echo out; echo err >&2; exit 3")
    assert (result.stdout, result.stderr, result.exit_code) == (b"out\n", b"err\n", 3)
    assert not result.ok()


async def test_exec_output_is_bytes(session: SandboxSession) -> None:
    assert (await session.exec(r"printf '\377\000\r\n'")).stdout == b"\xff\0\r\n"


async def test_exec_quotes_words(session: SandboxSession) -> None:
    for shell in (True, False):
        result = await session.exec("printf", "[%s]", "a b", "$HOME", "'", shell=shell)
        assert result.stdout == b"[a b][$HOME][']"


async def test_exec_with_another_shell(session: SandboxSession) -> None:
    assert (await session.exec("echo ${BASH_VERSION:+bash}", shell=["bash", "-c"])).stdout == b"bash\n"


async def test_exec_of_a_missing_program_fails(session: SandboxSession) -> None:
    assert (await session.exec("no-such-program")).exit_code == 127


async def test_exec_input_is_empty(session: SandboxSession) -> None:
    assert (await session.exec("cat", timeout=30)).ok()


async def test_exec_runs_in_the_workspace(session: SandboxSession) -> None:
    await session.exec("echo here >made-by-a-command")
    assert await content(session, "made-by-a-command") == b"here\n"


async def test_exec_over_the_timeout_ends_all_processes(session: SandboxSession) -> None:
    with pytest.raises(ExecTimeoutError):
        await session.exec("(sleep 3; echo late >late) & sleep 60", timeout=1)
    await session.exec("sleep 4")
    assert not (await session.exec("cat late")).ok()


async def test_large_output_is_complete(session: SandboxSession) -> None:
    assert len((await session.exec("head -c 3000000 /dev/zero")).stdout) == 3_000_000


async def test_environment_of_the_manifest(client: Any) -> None:
    created = await client.create(manifest=Manifest(environment=Environment(value={"NAME": "a 'b' $c"})), options=None)
    async with created:
        assert (await created.exec('printf %s "$NAME"')).stdout == b"a 'b' $c"
    await client.delete(created)


async def test_entries_of_the_manifest_are_made(client: Any) -> None:
    entries = {"a.txt": File(content=b"a"), "d": Dir(children={"b.bin": File(content=ALL_BYTES)}), "empty": Dir()}
    created = await client.create(manifest=Manifest(entries=entries), options=None)
    async with created:
        assert await content(created, "a.txt") == b"a"
        assert await content(created, "d/b.bin") == ALL_BYTES
        assert (await created.exec("ls empty")).ok()
    await client.delete(created)


async def test_file_is_written_and_read(session: SandboxSession) -> None:
    await write(session, "bytes", ALL_BYTES)
    assert await content(session, "bytes") == ALL_BYTES
    await write(session, "bytes", b"")
    assert await content(session, "bytes") == b""


async def test_write_makes_directories(session: SandboxSession) -> None:
    await write(session, "new/directory/file name", b"content")
    assert await content(session, "new/directory/file name") == b"content"


async def test_write_of_another_type_is_an_error(session: SandboxSession) -> None:
    class Wrong(io.BytesIO):
        def read(self, *_: Any) -> Any:
            return 42

    with pytest.raises(WorkspaceWriteTypeError):
        await session.write(Path("file"), Wrong())


async def test_read_of_a_missing_file(session: SandboxSession) -> None:
    for path in ("missing", "missing/below"):
        with pytest.raises(WorkspaceReadNotFoundError):
            await session.read(Path(path))


async def test_read_of_a_directory(session: SandboxSession) -> None:
    await session.mkdir("directory")
    with pytest.raises(WorkspaceArchiveReadError):
        await session.read(Path("directory"))


async def test_bounded_read(session: SandboxSession) -> None:
    await write(session, "file", ALL_BYTES)
    assert await session.read_bounded(Path("file"), max_bytes=5) == ALL_BYTES[:5]
    assert await session.read_bounded(Path("file"), max_bytes=5000) == ALL_BYTES
    with pytest.raises(WorkspaceReadNotFoundError):
        await session.read_bounded(Path("missing"), max_bytes=5)
    with pytest.raises(ValueError, match="positive"):
        await session.read_bounded(Path("file"), max_bytes=0)


@pytest.mark.parametrize("path", ["../outside", "/etc/passwd", "directory/../../outside"])
async def test_path_outside_of_the_workspace_is_refused(session: SandboxSession, path: str) -> None:
    for use in (session.read(Path(path)), session.write(Path(path), io.BytesIO(b"")), session.rm(path)):
        with pytest.raises(InvalidManifestPathError):
            await use


async def test_link_out_of_the_workspace_is_not_followed(session: SandboxSession) -> None:
    await session.exec("ln -s /etc/passwd link; ln -s /etc directory")
    for path in ("link", "directory/passwd"):
        with pytest.raises((InvalidManifestPathError, WorkspaceArchiveReadError)):
            await session.read(Path(path))


async def test_directories_are_made_listed_and_removed(session: SandboxSession) -> None:
    await session.mkdir("one/two", parents=True)
    await write(session, "one/file", b"12345")
    listed = {Path(entry.path).name: entry for entry in await session.ls("one")}
    assert set(listed) == {"two", "file"}
    assert listed["file"].size == 5
    assert [listed["two"].is_dir(), listed["file"].is_dir()] == [True, False]
    await session.rm("one", recursive=True)
    assert not (await session.exec("ls one")).ok()


async def test_file_is_moved(session: SandboxSession) -> None:
    await write(session, "old", b"content")
    await session.mv("old", "new")
    assert await content(session, "new") == b"content"
    with pytest.raises(WorkspaceReadNotFoundError):
        await session.read(Path("old"))


async def test_same_file(session: SandboxSession) -> None:
    await session.exec("echo content >file; ln file hard; echo content >other")
    assert await session.same_file("file", "hard")
    assert not await session.same_file("file", "other")


async def test_patch_creates_updates_and_deletes(session: SandboxSession) -> None:
    await write(session, "old.txt", b"gone\n")
    await write(session, "poem.txt", b"one\ntwo\nthree\n")
    await session.apply_patch(
        [
            {"type": "create_file", "path": "new.txt", "diff": "+first\n+second"},
            {"type": "update_file", "path": "poem.txt", "diff": "@@\n one\n-two\n+2\n three"},
            {"type": "delete_file", "path": "old.txt"},
        ]
    )
    assert await content(session, "new.txt") == b"first\nsecond"
    assert await content(session, "poem.txt") == b"one\n2\nthree\n"
    with pytest.raises(WorkspaceReadNotFoundError):
        await session.read(Path("old.txt"))


async def test_archive_is_extracted(session: SandboxSession) -> None:
    await session.extract("unpacked/all.tar", archive(a=b"1", b=ALL_BYTES))
    assert await content(session, "unpacked/b") == ALL_BYTES


async def test_workspace_is_persisted_and_hydrated(client: Any, session: SandboxSession) -> None:
    await write(session, "directory/file", ALL_BYTES)
    await session.exec("chmod 755 directory/file; ln -s directory/file link")
    saved = (await session.persist_workspace()).read()
    other = await client.create(options=None)
    async with other:
        await other.hydrate_workspace(io.BytesIO(saved))
        assert await content(other, "directory/file") == ALL_BYTES
        assert (await other.exec("test -x directory/file && readlink link")).stdout == b"directory/file\n"
    await client.delete(other)


@pytest.mark.parametrize("name", ["../outside", "/tmp/outside"])
async def test_archive_that_leaves_the_workspace_is_refused(session: SandboxSession, name: str) -> None:
    with pytest.raises(Exception, match=r"write archive|absolute"):
        await session.hydrate_workspace(archive(**{name: b"content"}))


async def test_session_is_resumed_from_its_snapshot(client: Any, tmp_path: Path) -> None:
    manifest = Manifest(entries={"kept": File(content=b"old"), "fresh": File(content=b"new", ephemeral=True)})
    created = await client.create(manifest=manifest, snapshot=LocalSnapshotSpec(base_path=tmp_path), options=None)
    async with created:
        await write(created, "kept", b"changed")
        await write(created, "fresh", b"changed")
        await write(created, "made", b"by the session")
    state = client.serialize_session_state(created.state)
    await client.delete(created)
    resumed = await client.resume(client.deserialize_session_state(state))
    async with resumed:
        assert await content(resumed, "kept") == b"changed"
        assert await content(resumed, "fresh") == b"new"
        assert await content(resumed, "made") == b"by the session"
    await client.delete(resumed)


async def test_session_whose_program_ended_is_resumed_where_it_was(client: Any, tmp_path: Path) -> None:
    created = await client.create(snapshot=LocalSnapshotSpec(base_path=tmp_path), options=None)
    await created.start()
    await write(created, "file", b"content")
    state = client.serialize_session_state(created.state)
    resumed = await client.resume(client.deserialize_session_state(state))
    async with resumed:
        assert await content(resumed, "file") == b"content"
    await client.delete(resumed)


async def test_session_runs_until_it_is_deleted(client: Any) -> None:
    created = await client.create(options=None)
    async with created:
        assert await created.running()
    await client.delete(created)
    assert not await created.running()


async def test_delete_twice_is_harmless(client: Any) -> None:
    created = await client.create(options=None)
    async with created:
        pass
    assert await client.delete(await client.delete(created)) is created


async def test_resume_of_another_clients_state_is_an_error(client: Any) -> None:
    with pytest.raises(TypeError):
        await client.resume(object())


async def test_port_that_is_not_configured_is_an_error(session: SandboxSession) -> None:
    with pytest.raises(ExposedPortUnavailableError):
        await session.resolve_exposed_port(8000)
