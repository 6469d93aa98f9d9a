"""Live runs: what a run creates carries its id and stands in its ledger until it is destroyed."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import fork_server
import httpx
import pytest

from caged import Caged, _runs
from caged.pytest_plugin._creations import Creations

SOURCE = """
    import asyncio, os
    from caged import Caged

    def test_ids(caged, caged_sandbox, async_caged):
        async def look():
            box = await async_caged.sandboxes.create(env={"OTHER": "kept"})
            return (await async_caged.sandboxes.exec(box.id, "echo $CAGED_RUN_ID $OTHER")).output
        assert caged.sandboxes.exec(caged_sandbox.id, "echo run: $CAGED_RUN_ID").output == f"run: {run()}\\n"
        assert asyncio.run(look()) == f"{run()} kept\\n"
        assert caged.snapshots.create(caged_sandbox.id).description == f"caged-run:{run()}"
        assert caged.snapshots.create(caged_sandbox.id, description="mine").description == "mine"

    def run():
        from caged import _runs
        (found,) = _runs.runs()
        return found.id

    def test_in_the_ledger(caged):
        from caged import _runs
        box = caged.sandboxes.create()
        key = caged.account.create_key("second").info
        snapshot = caged.snapshots.wait(caged.snapshots.create(box.id).id, timeout=20)
        (found,) = _runs.runs()
        assert {("sandbox", box.id), ("key", key.id), ("snapshot", snapshot.id)} <= set(found.held)
        assert found.running
        caged.sandboxes.destroy(box.id)
        assert ("sandbox", box.id) not in _runs.find(found.id).held
"""


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_everything_carries_the_runs_id_and_the_ledger_is_gone_in_the_end(run_suite, live: Any, workers: str) -> None:
    result = run_suite(SOURCE, workers, *live)
    result.assert_outcomes(passed=2)
    assert len([line for line in result.outlines if line.startswith("caged: run=run_")]) == 1
    assert _runs.runs() == []
    assert list(_runs.directory().iterdir()) == []


@pytest.mark.parametrize("workers", [0, 2])
def test_what_a_killed_run_created_is_listed_in_its_ledger(
    pytester: pytest.Pytester, api: Caged, live: tuple[str, ...], eventually: Any, workers: int
) -> None:
    pytester.makepyfile(
        """
        import time, pytest

        @pytest.mark.parametrize("time_", range(2))
        def test_long(caged, caged_sandbox, time_):
            caged.sandboxes.exec(caged_sandbox.id, "sleep 600")
        """
    )
    process = fork_server.Process(
        [sys.executable, "-m", "pytest", "-p", "no:randomly", f"-n{workers}", *live],
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        eventually(lambda: sum(len(run.held) for run in _runs.runs()) == max(1, workers), "the sandboxes")
        (run,) = _runs.runs()
        assert run.running
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(60)
    eventually(lambda: not _runs.find(run.id).running, "all of its processes to be gone")  # type: ignore[union-attr]
    (left,) = _runs.runs()
    assert sorted(left.held) == sorted(("sandbox", box.id) for box in api.sandboxes.list())
    assert left.base_url == live[1].partition("=")[2]


def test_only_its_owner_reads_a_ledger_and_no_key_is_in_it() -> None:
    ledger = _runs.Ledger("run_private", "https://api.example", "caged_sk_secret")
    ledger.created("sandbox", "cage_1")
    (run,) = _runs.runs()
    assert stat.S_IMODE(run.path.stat().st_mode) == 0o600
    assert "caged_sk_secret" not in run.path.read_text()
    assert run.key == _runs.fingerprint("caged_sk_secret") != _runs.fingerprint("caged_sk_other")
    ledger.close()


def test_the_directory_is_made_for_its_owner_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CAGED_RUNS_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    _runs.Ledger("run_1", "https://api.example", "key").close()
    assert stat.S_IMODE((tmp_path / "caged" / "runs").stat().st_mode) == 0o700
    assert _runs.runs() == []


def test_the_last_process_of_a_run_removes_an_empty_ledger() -> None:
    first, second = (_runs.Ledger("run_two", "https://api.example", "key") for _ in range(2))
    first.created("sandbox", "cage_1")
    first.close()
    second.gone("sandbox", "cage_1")
    second.close()
    assert _runs.find("run_two") is None


@pytest.mark.parametrize("name", ["../x", "", ".hidden", "a/b"])
def test_what_is_not_an_id_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is not the id of a run"):
        _runs.find(name)


def request(path: str, **options: Any) -> httpx.Request:
    headers = {"Authorization": "Bearer key"}
    return httpx.Request("POST", f"https://api.example/v1/{path}", headers=headers, **options)


def test_ledger_separates_unanswered_creations_from_refused_ones() -> None:
    ledger = _runs.Ledger("run_unsure", "https://api.example", "key")
    creations = Creations("https://api.example", "key", "run_unsure", ledger)
    for status in (400, 503, None):
        sent, token = creations.prepare(request("sandboxes", json={"template": "minimal"}))
        if status is not None:
            creations.note_answer(token, sent, httpx.Response(status, json={}))
    _sent, token = creations.prepare(request("account/keys", json={}))
    creations.note_unsent(token)
    ledger.close()
    (run,) = _runs.runs()
    assert (run.held, run.unanswered, run.running) == ([], 2, False)


@pytest.mark.parametrize(
    ("path", "body"),
    [("sandboxes", b"no json"), ("sandboxes", b"[1]"), ("sandboxes", b'{"env": "x"}'), ("account/keys", b"{}")],
)
def test_bodies_that_can_carry_no_id_are_sent_as_they_are(path: str, body: bytes) -> None:
    sent, _token = Creations("https://api.example", "key", "run_1").prepare(request(path, content=body))
    assert sent.content.replace(b" ", b"") == body.replace(b" ", b"")


def test_a_run_without_a_place_for_its_ledger_says_so(run_suite, live: Any, monkeypatch, tmp_path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("CAGED_RUNS_DIR", str(tmp_path / "file" / "runs"))
    result = run_suite("def test_it(caged): caged.sandboxes.create()", *live)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["-* caged: notes -*", "live run:", "*is not recorded*CAGED_RUNS_DIR*"])
