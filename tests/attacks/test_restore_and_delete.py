"""A restore during which its snapshot or sandbox is deleted reports it as not found, not as a disk error (Guard 17)."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Callable

import pytest
from emulator_testing import Api, assert_problem
from internals import platform_of
from net_testing import SECONDS, api, emulator

from caged.emulator.cage import restore

Unpack = Callable[..., restore.RestoreResult]


class Gate:
    """Blocks a restore before it reads the archive, until `open` is called."""

    def __init__(self, unpack: Unpack) -> None:
        self._unpack = unpack
        self.reached = threading.Event()
        self._open = threading.Event()

    def __call__(self, source: Path, *rest: Any) -> restore.RestoreResult:
        self.reached.set()
        assert self._open.wait(SECONDS)
        return self._unpack(source, *rest)

    def open(self) -> None:
        self._open.set()


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    gate = Gate(restore.restore_files)
    monkeypatch.setattr(restore, "restore_files", gate)
    return gate


def test_restore_of_snapshot_deleted_meanwhile_returns_not_found(api: Api, gate: Gate) -> None:
    box = api.sandbox()
    api.write(box, "kept", "before")
    snapshot = api.snapshot(box)
    api.write(box, "kept", "after")
    with ThreadPoolExecutor(1) as pool:
        restoring = pool.submit(api.restore, snapshot, box)
        assert gate.reached.wait(SECONDS)
        assert api.delete(f"/snapshots/{snapshot}").status_code == 204
        gate.open()
        assert_problem(restoring.result(SECONDS), 404, f"snapshot not found: {snapshot}")
    assert api.read(box, "kept").text == "after"
    assert api.output(box, "echo on") == "on\n"


def test_queued_restore_of_deleted_snapshot_returns_not_found(api: Api, gate: Gate) -> None:
    """The second restore waits for the first, and its snapshot is deleted meanwhile."""
    box = api.sandbox()
    first, second = api.snapshot(box), api.snapshot(box)
    with ThreadPoolExecutor(2) as pool:
        running = pool.submit(api.restore, first, box)
        assert gate.reached.wait(SECONDS)
        waiting = pool.submit(api.restore, second, box)
        assert api.delete(f"/snapshots/{second}").status_code == 204
        gate.open()
        assert running.result(SECONDS).status_code == 200
        assert_problem(waiting.result(SECONDS), 404)


def test_restore_of_sandbox_destroyed_meanwhile_returns_not_found(api: Api, gate: Gate) -> None:
    box = api.sandbox()
    snapshot = api.snapshot(box)
    with ThreadPoolExecutor(2) as pool:
        restoring = pool.submit(api.restore, snapshot, box)
        assert gate.reached.wait(SECONDS)
        destroying = pool.submit(api.delete, f"/sandboxes/{box}")
        while api.get(f"/sandboxes/{box}").status_code != 404:
            pass
        gate.open()
        assert_problem(restoring.result(SECONDS), 404, f"sandbox not found: {box}")
        assert destroying.result(SECONDS).status_code == 204


def test_restore_without_archive_file_returns_507(api: Api) -> None:
    box = api.sandbox()
    snapshot = api.snapshot(box)
    platform_of(api.emulator).store.snapshots[snapshot].file.unlink()
    assert_problem(api.restore(snapshot, box), 507, "the files are untouched")
