"""After a restart with a state directory everything is as before, with the sandboxes stopped."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import fork_server
import httpx
import pytest
from emulator_testing import eventually
from internals import call_on_loop, platform_of
from levels import need
from sessions_testing import ingest, recorded
from state_testing import fill, get_as, look, of, started, without

from caged import Caged
from caged.emulator import ConfigError, Emulator

#: Fields that a request itself changes.
VOLATILE = ("last_used_at", "last_used")
#: Lists every file with its mode, and prints the content of some.
LISTING = "find /workspace /root -printf '%p %M %y\\n' | sort; cat /root/link /root/.settings made"


@pytest.fixture(params=["namespace", "process"])
def level(request):
    need(request.param)
    return request.param


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


# Three starts, and records of every kind. The level makes a difference to the next test alone.
@pytest.mark.parametrize("level", ["namespace"], indirect=True)
def test_responses_after_restart_differ_only_in_stopped_sandbox(state, level):
    with started(state, isolation=level) as emulator:
        api = of(emulator, emulator.create_account().api_key)
        with api:
            box = fill(emulator, api)
            before = look(api)
    with started(state, isolation=level) as emulator, of(emulator, api.key) as api:
        after = look(api)
    assert len(before) >= 20
    assert before.keys() == after.keys()
    logs = f"/sandboxes/{box}/logs"
    assert after[logs][:-1] == before[logs]
    assert after[logs][-1]["message"].startswith("stopped with the emulator")
    (shown,), (shown_before,) = after["/sandboxes"], before["/sandboxes"]
    assert (shown["status"], shown_before["status"]) == ("stopped", "running")
    assert shown["stopped_at"] > shown_before["created_at"]
    assert shown["cost"] >= shown_before["cost"]
    moving = (*VOLATILE, "status", "stopped_at", "cost", "total_cost")
    for path in before:
        if path != logs and path.startswith("/sandboxes"):
            assert without({path: before[path]}, *moving) == without({path: after[path]}, *moving), path
        elif path not in (logs, "/billing/usage"):
            assert without({path: before[path]}, *VOLATILE) == without({path: after[path]}, *VOLATILE), path
    with started(state, isolation=level) as emulator, of(emulator, api.key) as api:
        assert without(look(api), *VOLATILE) == without(after, *VOLATILE)


def test_resume_after_restart_restores_files_modes_programs_and_agents(state, level):
    with started(state, isolation=level) as emulator, of(emulator, emulator.api_key) as api:
        box = fill(emulator, api)
        kept = api.output(box, LISTING)
        api.output(box, "(sleep 600 &) ; python3 -c 'print(1)'")
    with started(state, isolation=level) as emulator, of(emulator, emulator.api_key) as api:
        assert api.post(f"/sandboxes/{box}/resume").status_code == 204
        assert api.status(box) == "running"
        assert api.output(box, LISTING) == kept
        assert "text\nhome\nmade\n" in kept
        assert "caged emulator" in api.output(box, "claude -p hello")
        assert api.output(box, "echo $TOKEN $PLAIN") == "s3cret-value x\n"
        assert "s3cret-value" not in api.log_text(box)
        assert api.output(box, "pgrep -x sleep || echo none") == "none\n" or level == "process"
        assert api.write(box, "/workspace/new", "n").status_code == 200
        shown = api.get(f"/sandboxes/{box}").json()
        assert "stopped_at" not in shown or shown["stopped_at"] is None
        assert api.post(f"/sandboxes/{box}/pause").status_code == 204
        assert api.post(f"/sandboxes/{box}/resume").status_code == 204


def test_environment_is_redacted_in_steps_after_restart_and_import(state, tmp_path):
    with started(state) as emulator, emulator.client() as caged:
        box = caged.sandboxes.create(env={"TOKEN": "declared-value", "PLAIN": "planted-value"}, secrets=["TOKEN"]).id
        emulator.export(tmp_path / "archive.tar.gz")
        key = emulator.api_key
    with started(state) as emulator, emulator.client() as caged:
        caged.sandboxes.resume(box)
        caged.sandboxes.exec(box, "echo $TOKEN $PLAIN")
        steps = str([vars(step) for step in emulator.journal.steps()])
        assert "*** ***" in steps
        assert "declared-value" not in steps
        assert "planted-value" not in steps
    with Emulator(allow_unused=True) as other:
        other.import_(tmp_path / "archive.tar.gz")
        with Caged(key, other.base_url) as caged:
            caged.sandboxes.resume(box)
            caged.sandboxes.exec(box, "echo $TOKEN $PLAIN")
        steps = str([vars(step) for step in other.journal.steps(account="*")])
        assert "*** ***" in steps
        assert "declared-value" not in steps
        assert "planted-value" not in steps


def test_call_on_stopped_sandbox_is_refused(state):
    with started(state) as emulator, of(emulator, emulator.api_key) as api:
        box = api.sandbox()
        kept = api.snapshot(box)
    with started(state) as emulator, of(emulator, emulator.api_key) as api:
        assert api.status(box) == "stopped"
        paused = api.post(f"/sandboxes/{box}/pause")
        assert (paused.status_code, paused.json()["reason"]["code"]) == (409, "invalid_state")
        assert "is stopped" in paused.json()["detail"]
        for refused in (api.read(box, "/workspace/a"), api.restore(kept, box), api.get(f"/sandboxes/{box}/ports")):
            assert (refused.status_code, refused.json()["reason"]["code"]) == (409, "sandbox_not_running")
            assert "resume it first" in refused.json()["detail"]
        result = api.run(box, "true")
        assert (result["exit_code"], result["output"]) == (-1, "")
        assert "is stopped" in result["error"]


def test_destroy_of_stopped_sandbox_keeps_its_snapshots(state):
    with started(state) as emulator, of(emulator, emulator.api_key) as api:
        box = api.sandbox()
        api.write(box, "/workspace/a", "kept")
        kept = api.snapshot(box)
    with started(state) as emulator, of(emulator, emulator.api_key) as api:
        assert api.delete(f"/sandboxes/{box}").status_code == 204
        assert not (state / "sandboxes" / box).exists()
    with started(state) as emulator, of(emulator, emulator.api_key) as api:
        assert api.get("/sandboxes").json() == []
        other = api.sandbox()
        assert api.restore(kept, other).status_code == 200
        assert api.read(other, "/workspace/a").text == "kept"


def test_keys_logins_and_first_account_survive_restart(state):
    password = {"email": "someone@example.invalid", "password": "long enough"}
    with started(state) as emulator, of(emulator, emulator.api_key) as api:
        first = emulator.api_key
        made = api.post("/account/keys", json={"name": "reader", "scope": "read_only"}).json()
        revoked = api.post("/account/keys", json={"name": "gone"}).json()
        api.delete(f"/account/keys/{revoked['info']['id']}")
        token = httpx.post(
            f"{emulator.base_url}/signup", json=password, trust_env=False, verify=False, timeout=60
        ).json()["token"]
    with started(state) as emulator:
        assert emulator.api_key == first
        assert get_as(emulator, token, "/account").json()["email"] == password["email"]
        again = httpx.post(f"{emulator.base_url}/login", json=password, trust_env=False, verify=False, timeout=60)
        assert again.status_code == 200
        assert get_as(emulator, made["key"], "/sandboxes").status_code == 200
        with of(emulator, made["key"]) as reader:
            assert reader.post("/sandboxes", json={"template": "minimal"}).status_code == 403
        assert get_as(emulator, revoked["key"], "/sandboxes").status_code == 401


def test_different_api_key_is_added_to_first_account(state):
    with started(state) as emulator:
        first, account = emulator.api_key, get_as(emulator, emulator.api_key, "/account").json()["id"]
        stranger = emulator.create_account()
    with started(state, api_key="caged_sk_given") as emulator:
        assert emulator.api_key == "caged_sk_given"
        for key in (first, "caged_sk_given"):
            assert get_as(emulator, key, "/account").json()["id"] == account
    with pytest.raises(ConfigError, match="another account"):
        Emulator(state_dir=state, api_key=stranger.api_key).start()
    with started(state) as emulator:
        assert emulator.api_key == first


def test_port_password_survives_restart(state):
    server = "import socket,time; s=socket.socket(); s.bind(('127.0.0.1', 8000)); s.listen(); time.sleep(600)"
    script = f'echo "{server}" > /workspace/s.py; (python3 /workspace/s.py >/dev/null 2>&1 &)'
    with started(state, isolation="auto") as emulator, of(emulator, emulator.api_key) as api:
        if emulator.isolation == "process":
            pytest.skip("a port of its own needs a network of its own")
        box = api.sandbox(network_mode="none")
        api.output(box, script)
        eventually(lambda: api.get(f"/sandboxes/{box}/ports").json(), "the port")
        assert api.post(f"/sandboxes/{box}/ports/8000/protect", json={"password": "pw"}).status_code == 200
    with started(state) as emulator, of(emulator, emulator.api_key) as api:
        api.post(f"/sandboxes/{box}/resume")
        api.output(box, script)
        (port,) = eventually(lambda: api.get(f"/sandboxes/{box}/ports").json(), "the port")
        assert port["protected"] is True


def test_costs_continue_after_restart(state):
    with started(state) as emulator, of(emulator, emulator.api_key) as api:
        box = api.sandbox(agents=["claude"], budget=1.0)
        api.output(box, "claude -p x")
        (session,) = api.get(f"/sandboxes/{box}/sessions").json()
        ingest(api, {"type": "llm_call", "session_id": session["id"], "payload": {"cost_usd": 2.0}})
    with started(state) as emulator, of(emulator, emulator.api_key) as api:
        assert api.get(f"/sandboxes/{box}").json()["llm_cost"] == 2.0
        refused = api.post(f"/sandboxes/{box}/resume")
        assert (refused.status_code, refused.json()["reason"]["code"]) == (409, "budget_exceeded")
        assert api.status(box) == "stopped"


def test_sent_alert_is_not_sent_again_after_restart(state):
    with started(state) as emulator, of(emulator, emulator.api_key) as api:
        box = api.sandbox(agents=["claude"], budget=1.0)
        api.output(box, "claude -p x")
        (session,) = api.get(f"/sandboxes/{box}/sessions").json()
        ingest(api, {"type": "llm_call", "session_id": session["id"], "payload": {"cost_usd": 0.9}})
        call_on_loop(emulator, platform_of(emulator).scheduler.check())
        sent = api.get("/alerts").json()["alerts"]
        assert [alert["rule_type"] for alert in sent] == ["budget_exceeded"]
    with started(state) as emulator, of(emulator, emulator.api_key) as api:
        api.post(f"/sandboxes/{box}/resume")
        call_on_loop(emulator, platform_of(emulator).scheduler.check())
        assert api.get("/alerts").json()["alerts"] == sent


def test_event_numbers_continue_after_restart(state):
    with started(state) as emulator, of(emulator, emulator.api_key) as api:
        box = api.sandbox()
        api.output(box, "echo one")
        events = recorded(api, box)
    with started(state) as emulator, of(emulator, emulator.api_key) as api:
        api.post(f"/sandboxes/{box}/resume")
        api.output(box, "echo two")
        again = recorded(api, box)
        assert again[: len(events)] == events
        assert [event.sequence for event in again] == list(range(1, len(again) + 1))
        assert again[-1].data["command"] == "echo two"


def test_database_keeps_only_newest_log_lines(state):
    with started(state) as emulator, of(emulator, emulator.api_key) as api:
        box = api.sandbox()
        platform = platform_of(emulator)

        async def talk() -> None:
            for number in range(7_000):
                platform.recorder.log(platform.store.sandboxes[box], f"line {number}")
                if number % 1000 == 0:
                    platform.commit()

        call_on_loop(emulator, talk())
    rows = sqlite3.connect(f"file:{state / 'state.db'}?mode=ro", uri=True)
    (count,) = rows.execute("SELECT count(*) FROM entry WHERE list = ?", (f"log {box}",)).fetchone()
    rows.close()
    assert count == 5000
    with started(state) as emulator, of(emulator, emulator.api_key) as api:
        lines = [line["message"] for line in api.logs(box, tail=1000)]
        assert lines[-2] == "line 6999"
        assert lines[0] == "line 6001"


def test_seeded_ids_continue_after_restart_without_collision(tmp_path):
    def ids(api, count):
        made = [api.sandbox() for _ in range(count)]
        return made, [event.id for box in made for event in recorded(api, box)]

    with started(None, seed=7) as emulator, of(emulator, emulator.api_key) as api:
        expected, events = ids(api, 2)
        more, more_events = ids(api, 1)
    with started(tmp_path / "s", seed=7) as emulator, of(emulator, emulator.api_key) as api:
        assert ids(api, 2) == (expected, events)
    with started(tmp_path / "s", seed=7) as emulator, of(emulator, emulator.api_key) as api:
        found, found_events = ids(api, 1)
        assert found == more
        # Each of the two that were restarted has one event more, for its stop.
        assert not set(found_events) & set(events)
        assert more_events[0] not in events


def test_seeded_request_ids_continue_after_restart(tmp_path):
    def request_ids(state):
        with started(state, seed=7) as emulator, of(emulator, emulator.api_key) as api:
            return [api.get("/account").headers["X-Request-Id"] for _ in range(3)]

    with started(None, seed=7) as emulator, of(emulator, emulator.api_key) as api:
        expected = [api.get("/account").headers["X-Request-Id"] for _ in range(6)]
    assert request_ids(tmp_path / "s") + request_ids(tmp_path / "s") == expected


def test_reset_account_is_empty_after_restart(state):
    with started(state) as emulator, of(emulator, emulator.api_key) as api:
        fill(emulator, api)
        emulator.reset()
        before = look(api)
        assert before["/sandboxes"] == before["/alerts"]["alerts"] == []
    database = sqlite3.connect(f"file:{state / 'state.db'}?mode=ro", uri=True)
    assert database.execute("SELECT count(*) FROM entry").fetchone() == (0,)
    database.close()
    with started(state) as emulator, of(emulator, emulator.api_key) as api:
        assert without(look(api), *VOLATILE) == without(before, *VOLATILE)


def test_second_emulator_on_state_directory_is_refused_with_pid_of_first(state):
    with started(state), pytest.raises(ConfigError, match=r"in use by the emulator with pid \d+"):
        Emulator(state_dir=state).start()
    with started(state):
        pass


def test_command_on_state_directory_in_use_exits_with_error(state):
    with started(state) as emulator:
        command = [sys.executable, "-m", "caged.emulator", "serve", "--port", "0", "--state-dir", str(state)]
        done = fork_server.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 2
        assert "in use by the emulator with pid" in done.stderr
        assert get_as(emulator, emulator.api_key, "/sandboxes").status_code == 200


def test_foreign_or_newer_database_is_refused_and_unchanged(state):
    with started(state):
        pass
    original = (state / "state.db").read_bytes()
    for statement, words in (
        ("PRAGMA user_version = 99", "version 99, of a newer release"),
        ("PRAGMA application_id = 1", "not the state of an emulator"),
        ("UPDATE record SET body = '{'", "cannot be read"),
    ):
        (state / "state.db").write_bytes(original)
        with sqlite3.connect(state / "state.db") as database:
            database.execute(statement)
        database.close()
        content = (state / "state.db").read_bytes()
        assert content != original
        with pytest.raises(ConfigError, match=words):
            Emulator(state_dir=state).start()
        assert (state / "state.db").read_bytes() == content
        assert sorted(path.name for path in state.iterdir() if path.name.startswith("caged-")) == []


def test_file_that_is_not_a_database_is_refused(state):
    state.mkdir()
    (state / "state.db").write_text("something else entirely, and long enough to be looked at as a header" * 20)
    with pytest.raises(ConfigError, match=r"not a state directory of an emulator: it holds 'state\.db'"):
        Emulator(state_dir=state).start()


def test_start_moves_entries_without_record_and_removes_unfinished_ones(state):
    with started(state) as emulator, of(emulator, emulator.api_key) as api:
        box = api.sandbox()
        kept = api.snapshot(box)
    (state / "sandboxes" / "cage_unknown1" / "workspace").mkdir(parents=True)
    (state / "snapshots" / "snap_unknown1.tar").write_text("x")
    (state / "snapshots" / f"{kept}.part").write_text("x")
    (state / "sandboxes" / "cage_going.removed" / "workspace").mkdir(parents=True)
    with started(state):
        assert [path.name for path in (state / "sandboxes").iterdir()] == [box]
        assert [path.name for path in (state / "snapshots").iterdir()] == [f"{kept}.tar"]
    lost = sorted(path.name.partition("-")[2] or path.name for path in (state / "lost+found").iterdir())
    assert lost == ["cage_unknown1", "reasons.txt", "snap_unknown1.tar"]


def test_resume_after_restart_respects_plan_limits(state):
    with started(state, tier="free") as emulator, of(emulator, emulator.api_key) as api:
        box = api.sandbox()
    with started(state, tier="free") as emulator, of(emulator, emulator.api_key) as api:
        api.sandbox(), api.sandbox()
        refused = api.post(f"/sandboxes/{box}/resume")
        assert (refused.status_code, refused.json()["reason"]["code"]) == (403, "plan_limit_reached")


def test_persistence_modules_are_not_imported_without_state_directory():
    code = (
        "import sys; from caged.emulator import Emulator\n"
        "with Emulator() as e, e.client() as c: c.sandboxes.exec(c.sandboxes.create().id, 'true')\n"
        "print([m for m in sys.modules if 'sqlite' in m or 'persistence' in m])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"
