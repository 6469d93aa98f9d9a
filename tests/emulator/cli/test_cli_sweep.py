"""`caged-emulator sweep`: an emulator stands for the real API."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cli_testing import run

from caged import Caged, _runs

Sweep = Callable[..., Any]


@pytest.fixture(autouse=True)
def no_runs_at_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("CAGED_RUNS_DIR", str(tmp_path / "runs"))


@pytest.fixture
def api(caged_emulator: Any) -> Iterator[Caged]:
    with caged_emulator.client() as client:
        client.secret = caged_emulator.api_key  # type: ignore[attr-defined]
        client.url = caged_emulator.base_url  # type: ignore[attr-defined]
        yield client


@pytest.fixture
def sweep(api: Any) -> Sweep:
    def call(*options: str, key: str = "") -> Any:
        env = {**os.environ, "CAGED_BASE_URL": api.url + "/", "CAGED_API_KEY": key or api.secret}
        return run("sweep", *options, env=env)

    return call


@pytest.fixture
def ledger(api: Any) -> Iterator[_runs.Ledger]:
    opened = _runs.Ledger("run_1", api.url, api.secret)
    yield opened
    opened.close()


def test_leftovers_are_listed_and_only_those_of_the_run_destroyed(sweep: Sweep, api: Any, ledger: Any) -> None:
    owned, left, gone = (api.sandboxes.create() for _ in range(3))
    unnoted = api.sandboxes.create(env={"CAGED_RUN_ID": "run_1"})  # by a request whose answer never came
    other = api.sandboxes.create(env={"CAGED_RUN_ID": "run_2"})
    marked = api.snapshots.wait(api.snapshots.create(owned.id, description="caged-run:run_1").id, timeout=20)
    kept = api.snapshots.wait(api.snapshots.create(owned.id).id, timeout=20)
    key = api.account.create_key("left").info
    api.sandboxes.destroy(gone.id)
    for kind, id in (("sandbox", left.id), ("sandbox", gone.id), ("key", key.id)):
        ledger.created(kind, id)
    ledger.creating("sandbox")
    ledger.close()

    listed = sweep("--live")
    assert listed.returncode == 0, listed.stderr
    lines = [line.split(":")[0].strip() for line in listed.stdout.splitlines()]
    assert lines[0].startswith("run_1 (began 20")
    assert lines[1:3] == [f"sandbox {left.id}", f"key {key.id}"]
    assert "1 more may exist, of unanswered requests; --run run_1 searches for them" in listed.stdout

    as_json = sweep("--live", "--json")
    records = [json.loads(line) for line in as_json.stdout.splitlines()]
    assert [(one["run"], one["kind"], one["id"]) for one in records] == [
        ("run_1", "sandbox", left.id),
        ("run_1", "key", key.id),
    ]
    assert records[1]["description"] == "left"
    assert "1 more may exist" in as_json.stderr

    listed = sweep("--live", "--run", "run_1")
    for id in (left.id, key.id, unnoted.id, marked.id):
        assert id in listed.stdout
    for id in (owned.id + ":", other.id, kept.id, gone.id):
        assert id not in listed.stdout
    assert len(api.sandboxes.list()) == 4

    destroyed = sweep("--live", "--run", "run_1", "--destroy")
    assert destroyed.returncode == 0, destroyed.stderr
    assert {box.id for box in api.sandboxes.list()} == {owned.id, other.id}
    assert [snapshot.id for snapshot in api.snapshots.list(owned.id)] == [kept.id]
    assert key.id not in [one.id for one in api.account.list_keys()]
    assert _runs.runs() == []
    assert "nothing is left" in sweep("--live", "--run", "run_1").stdout
    assert sweep("--live").stdout == f"no run left anything at {api.url}\n"
    assert sweep("--live", "--json").stdout == ""


def test_a_run_that_is_not_over_is_left_alone(sweep: Sweep, api: Any, ledger: Any) -> None:
    box = api.sandboxes.create()
    ledger.created("sandbox", box.id)
    done = sweep("--live", "--run", "run_1", "--destroy")
    assert done.returncode == 1
    assert "still running): " not in done.stdout
    assert "still running" in done.stdout
    assert "run run_1 is still running; end it first" in done.stderr
    assert len(api.sandboxes.list()) == 1


def test_what_another_key_created_is_not_taken_for_gone(sweep: Sweep, api: Any, caged_emulator: Any) -> None:
    ledger = _runs.Ledger("run_1", api.url, "caged_sk_of_another_account")
    ledger.created("sandbox", "cage_elsewhere")
    ledger.close()
    assert "cage_elsewhere: not found with this API key" in sweep("--live").stdout
    assert _runs.runs()[0].held == [("sandbox", "cage_elsewhere")]


def test_sweep_reports_the_paused_sandboxes_that_it_did_not_query(sweep: Sweep, api: Any) -> None:
    box = api.sandboxes.create(env={"CAGED_RUN_ID": "run_1"})
    api.sandboxes.pause(box.id)
    assert "1 other sandboxes are not running" in sweep("--live", "--run", "run_1").stdout


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "add --live"),
        (("--live", "--destroy"), "--destroy needs --run ID"),
        (("--live", "--run", "../x"), "is not the id of a run"),
        (("--live", "--base-url", "http://127.0.0.1:9", "--run", "run_1"), "cannot connect"),
    ],
)
def test_what_cannot_be_done_is_said(sweep: Sweep, options: tuple[str, ...], said: str) -> None:
    done = sweep(*options)
    assert done.returncode != 0
    assert said in done.stderr.replace("\n", " ")


def test_runs_against_another_address_are_pointed_at(sweep: Sweep) -> None:
    ledger = _runs.Ledger("run_1", "https://api.example", "key")
    ledger.created("sandbox", "cage_1")
    ledger.close()
    assert "sweep --live --base-url https://api.example" in sweep("--live").stderr
    assert "was against https://api.example" in sweep("--live", "--run", "run_1").stderr
