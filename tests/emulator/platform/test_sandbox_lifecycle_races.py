"""Concurrent changes of state over HTTP: after a destroy no status, directory, process or automatic snapshot of the
sandbox comes back."""

from __future__ import annotations

import itertools
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from emulator_testing import Api, eventually
from internals import platform_of
from leftovers import processes_with, unique_seconds

from caged.emulator import Emulator

#: Copying a workspace of this size takes long enough that other calls have to wait for it.
SLOW = "truncate -s 150M slow"
ROUNDS = 2


class Watched:
    """A sandbox whose record and directory can be checked after the API no longer knows it."""

    def __init__(self, api: Api, **fields: Any) -> None:
        self.api = api
        self.id = api.sandbox(**fields)
        platform = platform_of(api.emulator)
        self.store = platform.store
        self.record = platform.store.sandboxes[self.id]
        self.live = platform.live.of(self.record)
        self.directory: Path = platform.files_dir / "sandboxes" / self.id
        self.mark = unique_seconds()
        api.output(self.id, f"sleep {self.mark} > /dev/null 2>&1 &")

    def assert_gone(self) -> None:
        assert self.record.status == "destroyed"
        assert self.record.running_since is None, "it costs nothing any more"
        assert not self.directory.exists()
        assert processes_with(self.mark) == []
        assert self.api.get(f"/sandboxes/{self.id}").status_code == 404
        assert self.id not in [found["id"] for found in self.api.get("/sandboxes").json()]

    def settle(self) -> None:
        """Wait for unfinished snapshots."""
        for snapshot in self.snapshots():
            self.api.settled(snapshot["id"])

    def snapshots(self) -> list[dict[str, Any]]:
        found = [snapshot for snapshot in self.store.snapshots.values() if snapshot.sandbox_id == self.id]
        return [self.api.get(f"/snapshots/{snapshot.id}").json() for snapshot in found]

    def actions(self) -> list[str]:
        """Return the actions of its lifecycle events, in order."""
        return [
            event.data["action"]
            for event in self.record.history.events()
            if event.type == "lifecycle" and "action" in event.data
        ]


class Together:
    """Requests that are sent concurrently."""

    def __init__(self) -> None:
        self._threads: list[threading.Thread] = []
        self.answers: dict[str, httpx.Response] = {}

    def start(self, name: str, call: Callable[[], httpx.Response]) -> None:
        def work() -> None:
            self.answers[name] = call()

        self._threads.append(threading.Thread(target=work))
        self._threads[-1].start()

    @property
    def is_done(self) -> bool:
        return not any(thread.is_alive() for thread in self._threads)

    def finish(self) -> dict[str, httpx.Response]:
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive(), "a request was not answered within 60 s"
        return self.answers


@pytest.fixture
def together() -> Iterator[Together]:
    made = Together()
    yield made
    made.finish()


def waiting(lock: Any, count: int) -> bool:
    return len(lock._waiters or ()) >= count


def test_waiting_pause_of_destroyed_sandbox_returns_404(api, together):
    box = Watched(api)
    api.output(box.id, SLOW)
    manual = api.post(f"/sandboxes/{box.id}/snapshots", json={"name": "manual"}).json()["id"]
    together.start("pause", lambda: api.post(f"/sandboxes/{box.id}/pause"))
    eventually(lambda: waiting(box.live.workspace_lock, 1), "pause to wait for the snapshot")
    together.start("destroy", lambda: api.delete(f"/sandboxes/{box.id}"))
    answers = together.finish()
    assert answers["destroy"].status_code == 204
    assert answers["pause"].status_code == 404
    box.assert_gone()
    assert api.settled(manual)["status"] == "completed", "a snapshot that was begun before is finished"
    assert [snapshot["trigger"] for snapshot in box.snapshots()] == ["manual"]
    assert box.actions()[-2:] == ["destroy", "snapshot"]


@pytest.mark.parametrize("call", ["pause", "restore", "exec", "write", "snapshot"])
def test_waiting_call_on_destroyed_sandbox_changes_nothing(api, together, call):
    box = Watched(api)
    saved = api.snapshot(box.id)
    api.output(box.id, SLOW)
    calls = {
        "pause": lambda: api.post(f"/sandboxes/{box.id}/pause"),
        "restore": lambda: api.restore(saved, box.id),
        "exec": lambda: api.post(f"/sandboxes/{box.id}/exec", json={"command": "echo late > late"}),
        "write": lambda: api.write(box.id, "late", "late"),
        "snapshot": lambda: api.post(f"/sandboxes/{box.id}/snapshots", json={}),
    }
    api.post(f"/sandboxes/{box.id}/snapshots", json={})
    eventually(box.live.workspace_lock.locked, "the snapshot to begin")
    together.start(call, calls[call])
    if call != "snapshot":
        eventually(lambda: waiting(box.live.workspace_lock, 1), f"{call} to wait for the snapshot")
    together.start("destroy", lambda: api.delete(f"/sandboxes/{box.id}"))
    answers = together.finish()
    assert answers["destroy"].status_code == 204
    assert answers[call].status_code in ({201, 404} if call == "snapshot" else {404}), answers[call].text
    box.settle()
    box.assert_gone()
    assert "auto" not in [snapshot["trigger"] for snapshot in box.snapshots()]


def test_waiting_resume_of_destroyed_sandbox_returns_404(api, together):
    box = Watched(api)
    api.output(box.id, SLOW)
    api.post(f"/sandboxes/{box.id}/pause")
    eventually(box.live.workspace_lock.locked, "the automatic snapshot to begin")
    together.start("resume", lambda: api.post(f"/sandboxes/{box.id}/resume"))
    eventually(lambda: waiting(box.live.workspace_lock, 1), "resume to wait for the snapshot")
    together.start("destroy", lambda: api.delete(f"/sandboxes/{box.id}"))
    answers = together.finish()
    assert answers["destroy"].status_code == 204
    assert answers["resume"].status_code == 404
    box.settle()
    box.assert_gone()


ACTIONS: dict[str, Callable[[Watched], httpx.Response]] = {
    "pause": lambda box: box.api.post(f"/sandboxes/{box.id}/pause"),
    "resume": lambda box: box.api.post(f"/sandboxes/{box.id}/resume"),
    "destroy": lambda box: box.api.delete(f"/sandboxes/{box.id}"),
    "snapshot": lambda box: box.api.post(f"/sandboxes/{box.id}/snapshots", json={}),
    "exec": lambda box: box.api.post(f"/sandboxes/{box.id}/exec", json={"command": "mkdir -p a/b && ls"}),
    "write": lambda box: box.api.write(box.id, "a/b/c", "text"),
    "restore": lambda box: box.api.restore(box.saved, box.id),  # type: ignore[attr-defined]
    "spend": lambda box: _spend(box),
    "advance": lambda box: _advance(box),
}


def _admin(box: Watched, path: str, body: dict[str, Any]) -> httpx.Response:
    emulator = box.api.emulator
    return httpx.post(
        f"{emulator.base_url}/_emulator{path}",
        json=body,
        params={"account": box.api.account_id},
        headers={"Authorization": f"Bearer {emulator.admin_key}"},
        timeout=60,
        trust_env=False,
        verify=False,
    )


def _spend(box: Watched) -> httpx.Response:
    """Use up the budget, so that the sandbox is paused."""
    return _admin(box, f"/sandboxes/{box.id}/spend", {"usd": 100})


def _advance(box: Watched) -> httpx.Response:
    """Advance the clock until the idle sandbox is paused."""
    return _admin(box, "/clock/advance", {"seconds": 10_000})


@pytest.mark.parametrize(
    ("first", "second"), [pair for pair in itertools.combinations_with_replacement(ACTIONS, 2) if "destroy" in pair]
)
def test_destroy_concurrent_with_other_change_wins(api, first, second):
    for _ in range(ROUNDS):
        box = Watched(api, budget=50)
        box.saved = api.snapshot(box.id)
        together = Together()
        together.start("first", lambda box=box: ACTIONS[first](box))
        together.start("second", lambda box=box: ACTIONS[second](box))
        answers = together.finish()
        assert all(answer.status_code in (200, 201, 204, 404, 409) for answer in answers.values()), answers
        box.settle()
        box.assert_gone()
        if "pause" not in box.actions():
            assert "auto" not in [snapshot["trigger"] for snapshot in box.snapshots()]
        assert box.actions().count("destroy") == 1
        assert set(box.actions()[box.actions().index("destroy") + 1 :]) <= {"snapshot"}


@pytest.mark.parametrize(
    ("first", "second"), [pair for pair in itertools.combinations(ACTIONS, 2) if "destroy" not in pair]
)
def test_two_concurrent_changes_leave_usable_sandbox(api, first, second):
    box = Watched(api, budget=50)
    box.saved = api.snapshot(box.id)
    together = Together()
    together.start("first", lambda: ACTIONS[first](box))
    together.start("second", lambda: ACTIONS[second](box))
    if "exec" in (first, second):
        # A command that was frozen by a pause returns after the sandbox is resumed.
        eventually(lambda: together.is_done or api.status(box.id) == "paused", "the answers, or the pause", 60)
        if not together.is_done:
            api.post(f"/sandboxes/{box.id}/resume")
    answers = together.finish()
    assert all(answer.status_code in (200, 201, 204, 409) for answer in answers.values()), answers
    box.settle()
    status = api.status(box.id)
    assert status in ("running", "paused")
    assert (box.record.running_since is None) == (status == "paused")
    if status == "paused" and "spend" not in (first, second):
        assert api.post(f"/sandboxes/{box.id}/resume").status_code == 204
    if "spend" not in (first, second):
        assert api.run(box.id, "echo usable")["output"] == "usable\n"
    api.delete(f"/sandboxes/{box.id}")
    box.assert_gone()


# --- during a create


@pytest.fixture
def silent_server() -> Iterator[str]:
    """The URL of a repository whose server accepts connections and never responds."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/repo.git"


@pytest.mark.parametrize("step", ["clone", "init_script"])
def test_destroy_during_create_ends_it_at_once(api, together, silent_server, step):
    mark = unique_seconds()
    fields = {"repo": silent_server} if step == "clone" else {"init_script": f"sleep {mark}"}
    body = {"template": "minimal", **fields}
    together.start("create", lambda: api.post("/sandboxes", json=body))
    (made,) = eventually(lambda: api.get("/sandboxes").json(), "the sandbox to be listed")
    sign = silent_server if step == "clone" else mark
    eventually(lambda: processes_with(sign), f"the {step} to run")
    platform = platform_of(api.emulator)
    record = platform.store.sandboxes[made["id"]]
    assert api.delete(f"/sandboxes/{made['id']}").status_code == 204
    assert processes_with(sign) == []
    assert not (platform.files_dir / "sandboxes" / made["id"]).exists()
    assert together.finish()["create"].status_code == 404
    assert record.status == "destroyed"


def test_destroy_at_any_moment_of_create_leaves_nothing(api):
    platform = platform_of(api.emulator)
    for _ in range(6):
        together = Together()
        body = {"template": "minimal", "agents": ["claude"], "init_script": "mkdir -p a/b; echo > a/b/c"}
        together.start("create", lambda body=body: api.post("/sandboxes", json=body))
        found = eventually(
            lambda: [box for box in list(platform.store.sandboxes.values()) if box.account_id == api.account_id],
            "the sandbox to be there",
        )
        assert api.delete(f"/sandboxes/{found[0].id}").status_code == 204
        assert not (platform.files_dir / "sandboxes" / found[0].id).exists()
        assert together.finish()["create"].status_code in (201, 404)
        assert found[0].status == "destroyed"
        assert not (platform.files_dir / "sandboxes" / found[0].id).exists()


def test_stub_added_during_destroy_creates_no_directory(api):
    platform = platform_of(api.emulator)
    commands = api.emulator.for_account(api.account_id).commands
    for number in range(5):
        box = Watched(api)
        together = Together()
        together.start("destroy", lambda box=box: api.delete(f"/sandboxes/{box.id}"))
        commands.stub(f"tool{number}", output="said")
        together.finish()
        box.assert_gone()
    assert platform.store is not None


def test_concurrent_resume_and_destroy_of_stopped_sandbox_destroys_it(tmp_path, own_emulator, new_api):
    with Emulator(state_dir=tmp_path / "state") as before:
        account = before.create_account()
        first = Api(before, account.api_key, account.id)
        boxes = [first.sandbox() for _ in range(3)]
        first.close()
    emulator = own_emulator(state_dir=tmp_path / "state")
    with Api(emulator, account.api_key, account.id) as api:
        for box in boxes:
            assert api.status(box) == "stopped"
            directory = platform_of(emulator).files_dir / "sandboxes" / box
            record = platform_of(emulator).store.sandboxes[box]
            assert directory.exists()
            together = Together()
            together.start("resume", lambda box=box: api.post(f"/sandboxes/{box}/resume"))
            together.start("destroy", lambda box=box: api.delete(f"/sandboxes/{box}"))
            answers = together.finish()
            assert answers["destroy"].status_code == 204
            assert answers["resume"].status_code in (204, 404)
            assert record.status == "destroyed"
            assert not directory.exists()
