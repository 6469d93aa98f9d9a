"""A state directory is consistent when a write fails or the emulator is killed."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest
from state_testing import of, started

from caged.emulator.cage import restore, tar_writer
from caged.emulator.cage.paths import Layout


def test_change_that_cannot_be_saved_returns_507(tmp_path):
    with started(tmp_path / "state") as emulator, of(emulator, emulator.api_key) as api:
        other = sqlite3.connect(tmp_path / "state" / "state.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        refused = api.post("/account/keys", json={"name": "late"})
        assert refused.status_code == 507
        assert "cannot be written" in refused.json()["detail"]
        assert "database is locked" in refused.json()["detail"]
        other.execute("ROLLBACK")
        other.close()
        made = api.post("/account/keys", json={"name": "next"})
        assert made.status_code == 201
    with started(tmp_path / "state") as emulator, of(emulator, emulator.api_key) as api:
        assert {"late", "next"} <= {key["name"] for key in api.get("/account/keys").json()}


def test_change_is_in_database_before_response(tmp_path):
    with started(tmp_path / "state") as emulator, of(emulator, emulator.api_key) as api:
        reader = sqlite3.connect(f"file:{tmp_path / 'state' / 'state.db'}?mode=ro", uri=True)

        def record(kind, identifier):
            where = "SELECT body FROM record WHERE kind = ? AND id = ?"
            found = reader.execute(where, (kind, identifier)).fetchone()
            return found and json.loads(found[0])

        box = api.sandbox()
        assert record("sandbox", box)["status"] == "running"
        api.output(box, "echo here")
        (count,) = reader.execute("SELECT count(*) FROM entry WHERE body LIKE '%echo here%'").fetchone()
        assert count == 2  # in the log, and as an event
        account = emulator.create_account()
        assert record("account", account.id) is not None
        emulator.remove_account(account.id)
        assert record("account", account.id) is None
        kept = api.snapshot(box)
        assert record("snapshot", kept)["status"] == "completed"
        assert api.post(f"/sandboxes/{box}/pause").status_code == 204
        assert record("sandbox", box)["status"] == "paused"
        assert api.delete(f"/snapshots/{kept}").status_code == 204
        assert record("snapshot", kept) is None
        assert api.delete(f"/sandboxes/{box}").status_code == 204
        assert record("sandbox", box) is None
        assert reader.execute("SELECT count(*) FROM entry WHERE list LIKE ?", (f"%{box}",)).fetchone() == (0,)
        reader.close()


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path / "box", mounted=True)
    layout.make()
    for name in ("a", "b"):
        (layout.workspace / name).write_text("old")
    layout.workspace.chmod(0o711)
    return layout


class Killed(BaseException):
    """Simulates a kill."""


@pytest.mark.parametrize("moves", range(6))
def test_interrupted_restore_is_completed_or_undone(layout, tmp_path, monkeypatch, moves):
    source = Layout(tmp_path / "source", mounted=True)
    source.make()
    for name in ("b", "c"):
        (source.workspace / name).write_text("new")
    source.workspace.chmod(0o750)
    tar_writer.pack(source, tmp_path / "new.tar")
    move, done = restore._move, 0

    def move_or_die(*arguments):
        nonlocal done
        if done == moves:
            raise Killed
        done += 1
        move(*arguments)

    monkeypatch.setattr(restore, "_move", move_or_die)
    # a kill runs no `finally`
    monkeypatch.setattr(restore._Paths, "clear", lambda places: None)
    try:
        restore.restore_files(tmp_path / "new.tar", layout)
    except Killed:
        pass
    monkeypatch.undo()
    restore.finish_interrupted(layout)
    found = {path.name: path.read_text() for path in layout.workspace.iterdir()}
    mode = layout.workspace.stat().st_mode & 0o777
    assert (found, mode) in (({"a": "old", "b": "old"}, 0o711), ({"b": "new", "c": "new"}, 0o750))
    assert (found == {"a": "old", "b": "old"}) == (moves < 2)
    assert sorted(path.name for path in layout.directory.iterdir()) == ["opt", "root", "tmp", "workspace"]
