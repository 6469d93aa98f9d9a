"""Guard, item 1: a start with a state directory deletes nothing that the emulator did not record."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Callable

import fork_server
import pytest
from state_testing import of, started

from caged.emulator import ConfigError, Emulator


def tree(top: Path) -> dict[str, str]:
    """Return every entry below a directory with its content, except that of the lock file."""
    found = {}
    for path in sorted(top.rglob("*")):
        name = str(path.relative_to(top))
        if path.is_symlink():
            found[name] = f"link to {os.readlink(path)}"
        elif path.is_file():
            found[name] = path.read_bytes().hex()[:2000] if name != "state.lock" else "lock"
        else:
            found[name] = "directory" if path.is_dir() else "special"
    return found


def put(top: Path, *names: str) -> None:
    for name in names:
        if name.endswith("/"):
            (top / name).mkdir(parents=True, exist_ok=True)
        else:
            (top / name).parent.mkdir(parents=True, exist_ok=True)
            (top / name).write_text("mine")


def foreign_database(state: Path) -> None:
    state.mkdir()
    with sqlite3.connect(state / "state.db") as database:
        database.execute("CREATE TABLE mine (a)")
    database.close()


#: Directories that a developer may pass to --state-dir by mistake.
NOT_OURS: dict[str, Callable[[Path], object]] = {
    "a_website": lambda p: put(p, "snapshots/logo.png", "sandboxes/mine/x"),
    "one_file": lambda p: put(p, "x"),
    "a_hidden_file": lambda p: put(p, ".env"),
    "an_empty_directory_in_it": lambda p: put(p, "notes/"),
    "only_a_directory_sandboxes": lambda p: put(p, "sandboxes/"),
    "only_a_file_sandboxes": lambda p: put(p, "sandboxes"),
    "a_lock_of_another_program": lambda p: put(p, "state.lock"),
    "an_empty_database_with_files": lambda p: [put(p, "sandboxes/cage_1/a"), (p / "state.db").touch()],
    "a_database_of_another_program": foreign_database,
    "a_text_as_database": lambda p: put(p, "state.db"),
    "run_directories": lambda p: put(p, "caged-run-12345678/important", "caged-new-12345678/important"),
    "a_link_as_lock": lambda p: [put(p.parent, "victim"), p.mkdir(), (p / "state.lock").symlink_to("../victim")],
    "a_link_as_database": lambda p: [put(p.parent, "victim"), p.mkdir(), (p / "state.db").symlink_to("../victim")],
    "a_pipe_as_lock": lambda p: [p.mkdir(), os.mkfifo(p / "state.lock")],
    "a_pipe_as_database": lambda p: [p.mkdir(), os.mkfifo(p / "state.db")],
    "a_directory_as_database": lambda p: put(p, "state.db/mine"),
    "a_file_at_the_path": lambda p: p.write_text("mine"),
    "a_link_to_nothing": lambda p: p.symlink_to(p.parent / "missing"),
}


@pytest.mark.parametrize("shape", NOT_OURS)
def test_directory_with_foreign_files_is_refused_and_unchanged(tmp_path, shape):
    NOT_OURS[shape](tmp_path / "p")
    before = tree(tmp_path)
    with pytest.raises(ConfigError, match=r"Nothing was changed|cannot use|use an empty directory|not the state of"):
        Emulator(state_dir=tmp_path / "p").start()
    assert tree(tmp_path) == before


def test_command_names_foreign_files_and_exits_with_error(tmp_path):
    put(tmp_path / "p", "snapshots/logo.png", "sandboxes/mine/x")
    command = [sys.executable, "-m", "caged.emulator", "serve", "--port", "0", "--state-dir", str(tmp_path / "p")]
    done = fork_server.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "it holds 'sandboxes', 'snapshots'" in done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "p" / "snapshots" / "logo.png").read_text() == "mine"


@pytest.mark.parametrize("names", [(), (".gitignore",), (".gitkeep", "lost+found/")])
def test_directory_with_only_ignorable_files_is_accepted(tmp_path, names):
    (tmp_path / "p").mkdir()
    put(tmp_path / "p", *names)
    with started(tmp_path / "p"):
        pass
    assert all((tmp_path / "p" / name).exists() for name in names)


@pytest.fixture(scope="module")
def filled(tmp_path_factory) -> tuple[Path, str, str, str]:
    """(a state directory with a sandbox and a snapshot, which tests only copy; key; sandbox; snapshot)"""
    state = tmp_path_factory.mktemp("filled") / "state"
    with started(state) as emulator, of(emulator, emulator.api_key) as api:
        box = api.sandbox()
        api.write(box, "/workspace/a", "kept")
        return state, emulator.api_key, box, api.snapshot(box)


@pytest.fixture
def state(filled, tmp_path) -> Path:
    shutil.copytree(filled[0], tmp_path / "state", symlinks=True)
    return tmp_path / "state"


def assert_intact(state: Path, filled: tuple[Path, str, str, str]) -> None:
    """Check that the sandbox and the snapshot of `filled` exist and can be used."""
    _, key, box, snapshot = filled
    with started(state) as emulator, of(emulator, key) as api:
        assert api.post(f"/sandboxes/{box}/resume").status_code == 204
        assert api.read(box, "/workspace/a").text == "kept"
        api.write(box, "/workspace/a", "changed")
        assert api.restore(snapshot, box).status_code == 200
        assert api.read(box, "/workspace/a").text == "kept"


def empty_database(state: Path) -> None:
    (state / "state.db").write_bytes(b"")


def overwrite_database(state: Path) -> None:
    (state / "state.db").write_bytes(b"x" * 8192)


def cut(state: Path) -> None:
    (state / "state.db").write_bytes((state / "state.db").read_bytes()[:5000])


def raise_schema_version(state: Path) -> None:
    with sqlite3.connect(state / "state.db") as database:
        database.execute("PRAGMA user_version = 99")
    database.close()


def use_foreign_database(state: Path) -> None:
    (state / "state.db").unlink()
    foreign_database(state / "other")
    (state / "other" / "state.db").rename(state / "state.db")
    (state / "other").rmdir()


WITHOUT_DATABASE = {
    "moved_away": lambda state: (state / "state.db").unlink(),
    "emptied": empty_database,
    "scribbled": overwrite_database,
    "cut": cut,
    "newer": raise_schema_version,
    "another_programs": use_foreign_database,
}


@pytest.mark.parametrize("damage", WITHOUT_DATABASE)
def test_unusable_database_is_refused_and_advice_loses_nothing(filled, state, damage):
    copy, whole = (state / "state.db").read_bytes(), tree(state)
    WITHOUT_DATABASE[damage](state)
    before = tree(state)
    with pytest.raises(ConfigError) as refused:
        Emulator(state_dir=state).start()
    after = tree(state)
    assert {n: c for n, c in after.items() if "-shm" not in n} == {n: c for n, c in before.items() if "-shm" not in n}
    advice = str(refused.value)
    assert "another directory" in advice
    # Follow the advice for a new start literally.
    found = re.search(r"mv (\S+) (\S+)\Z", advice)
    if damage not in ("newer", "another_programs"):
        assert found, advice
    if found:
        subprocess.run(shlex.split(found[0]), check=True)
        with started(state) as emulator, of(emulator, emulator.api_key) as api:
            assert api.get("/sandboxes").json() == []
        shutil.rmtree(state)
        state.with_name("state.old").rename(state)
        assert {n: c for n, c in tree(state).items() if "-shm" not in n} == {
            n: c for n, c in before.items() if "-shm" not in n
        }
    # Follow the advice to restore a copy.
    for name in ("state.db-wal", "state.db-shm"):
        (state / name).unlink(missing_ok=True)
    (state / "state.db").write_bytes(copy)
    assert {n: c for n, c in tree(state).items() if not n.startswith("state.db-")} == {
        n: c for n, c in whole.items() if not n.startswith("state.db-")
    }
    if damage == "moved_away":  # the state is the same after each
        assert_intact(state, filled)


UNKNOWN = {
    "a_file": lambda top: (top / "notes.txt").write_text("mine"),
    "a_directory": lambda top: put(top, "mine/a/b"),
    "as_if_a_sandbox": lambda top: put(top, "cage_abc/workspace/a"),
    "as_if_a_snapshot": lambda top: (top / "snap_abc.tar").write_text("mine"),
    "as_if_half_a_snapshot": lambda top: (top / "snap_abc.part").write_text("mine"),
    "hidden": lambda top: (top / ".hidden").write_text("mine"),
    "a_link_to_a_directory": lambda top: (top / "link").symlink_to(top.parent.parent / "outside"),
    "a_pipe": lambda top: os.mkfifo(top / "pipe"),
    "an_odd_name": lambda top: (top / "new\nline \udcff").write_text("mine"),
    "a_long_name": lambda top: (top / ("n" * 255)).write_text("mine"),
}


@pytest.mark.parametrize("where", ["sandboxes", "snapshots"])
def test_entries_without_record_are_moved_to_lost_and_found(filled, state, tmp_path, where):
    put(tmp_path, "outside/a")
    for make in UNKNOWN.values():
        make(state / where)
    unknown = set(os.listdir(state / where)) - {filled[2], f"{filled[3]}.tar"}
    assert len(unknown) == len(UNKNOWN)
    with started(state) as emulator:
        log = "\n".join(emulator.log_tail(100))
    lost = state / "lost+found"
    assert len(os.listdir(lost)) == len(UNKNOWN) + 1
    assert "is in state.db" in (lost / "reasons.txt").read_text(errors="replace")
    assert log.count("was moved to") == len(UNKNOWN)
    contents = [path.read_text() for path in lost.rglob("*") if path.is_file() and path.name != "reasons.txt"]
    assert contents == ["mine"] * (len(UNKNOWN) - 2)  # all except the link and the pipe
    assert (tmp_path / "outside" / "a").read_text() == "mine"
    assert os.listdir(state / where) == [filled[2] if where == "sandboxes" else f"{filled[3]}.tar"]
    assert_intact(state, filled)
    assert len(os.listdir(lost)) == len(UNKNOWN) + 1  # a second start moves nothing


def test_entry_that_cannot_be_moved_stays_and_is_logged(filled, state, tmp_path):
    put(tmp_path, "outside/a")
    put(state, "sandboxes/mine/x")
    (state / "lost+found").symlink_to(tmp_path / "outside")
    with started(state) as emulator:
        assert "mine was left where it is" in "\n".join(emulator.log_tail(100))
    assert (state / "sandboxes" / "mine" / "x").read_text() == "mine"
    assert os.listdir(tmp_path / "outside") == ["a"]
    assert_intact(state, filled)


def replace_by_link(name: str) -> Callable[[Path], object]:
    def replace(state: Path) -> None:
        (state / name).rename(state.parent / "elsewhere")
        (state / name).symlink_to(state.parent / "elsewhere")

    return replace


@pytest.mark.parametrize("name", ["sandboxes", "snapshots", "state.lock", "state.marker", "state.db"])
def test_state_directory_with_part_replaced_by_link_is_refused(filled, state, name):
    before = tree(state)
    replace_by_link(name)(state)
    elsewhere = tree(state.parent)
    with pytest.raises(ConfigError, match=f"{name} must be a .* and is a link"):
        Emulator(state_dir=state).start()
    assert tree(state.parent) == elsewhere
    (state / name).unlink()
    (state.parent / "elsewhere").rename(state / name)
    assert tree(state) == before


@pytest.mark.parametrize("name", ["sandboxes", "snapshots"])
def test_missing_directory_that_is_put_back_loses_nothing(filled, state, name):
    (state / name).rename(state.parent / "elsewhere")
    with started(state) as emulator:
        assert "missing; put it back" in "\n".join(emulator.log_tail(100))
    (state / name).rmdir()
    (state.parent / "elsewhere").rename(state / name)
    assert_intact(state, filled)


def test_link_to_state_directory_is_followed(filled, state, tmp_path):
    (tmp_path / "link").symlink_to(state)
    assert_intact(tmp_path / "link", filled)


def test_other_files_in_state_directory_are_unchanged(filled, state):
    (state / "state.db.bak").write_bytes((state / "state.db").read_bytes())
    put(state, "notes/mine")
    assert_intact(state, filled)
    assert (state / "state.db.bak").exists()
    assert (state / "notes" / "mine").read_text() == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_read_only_state_directory_is_refused(filled, state):
    state.chmod(0o500)
    try:
        with pytest.raises(ConfigError, match="cannot use"):
            Emulator(state_dir=state).start()
    finally:
        state.chmod(0o700)
    assert_intact(state, filled)


def test_owner_can_read_and_remove_every_directory_while_sandboxes_run_and_afterwards(tmp_path):
    """The kernel makes the working directories of overlays without any permission."""
    state = tmp_path / "state"

    def closed() -> list[str]:
        directories = [path for path in state.rglob("*") if path.is_dir() and not path.is_symlink()]
        assert len(directories) > 5
        return [str(path) for path in directories if path.stat().st_mode & 0o700 != 0o700]

    with started(state) as emulator, of(emulator, emulator.api_key) as api:
        box = api.sandbox()
        snapshot = api.snapshot(box)
        assert closed() == []
        assert api.restore(snapshot, box).status_code == 200  # which mounts the overlays again
        assert closed() == []
    assert closed() == []
