"""Agent sessions and their replay: one for each interaction with an agent."""

import json
import re
import threading

import pytest
from emulator_testing import assert_problem, eventually
from internals import platform_of
from sessions_testing import answer_all, at_work, ingest, replay, script, session, sessions

from caged.emulator.control.agent_command_line import chosen_session, model_name, resumed_session
from caged.emulator.control.agents import Reply


@pytest.fixture(scope="module")
def emulator(process_emulator):
    """Nothing here depends on the isolation."""
    return process_emulator


SESSION_KEYS = {
    *("id", "sandbox_id", "persona_id", "status", "agent_type", "model", "tokens_in", "tokens_out", "cost_usd"),
    *("llm_cost", "compute_cost", "total_cost", "trust_score", "event_count", "duration_ms", "started_at", "ended_at"),
}
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


@pytest.fixture
def agent_box(api):
    return api.sandbox(agents=["claude", "codex"])


# --- a session


def test_a_prompt_is_a_session(api, agent_box):
    api.output(agent_box, "claude -p 'Fix the bug'")
    found = session(api, agent_box)
    assert set(found) == SESSION_KEYS
    assert re.fullmatch(r"sess_[a-z0-9]{8}", found["id"])
    assert (found["sandbox_id"], found["agent_type"], found["status"]) == (agent_box, "claude-code", "completed")
    assert (found["persona_id"], found["model"], found["tokens_in"], found["tokens_out"]) == (None, None, 0, 0)
    assert found["trust_score"] == 100
    assert isinstance(found["duration_ms"], int)
    assert re.fullmatch(TIME, found["started_at"])
    assert re.fullmatch(TIME, found["ended_at"])
    assert found["started_at"] <= found["ended_at"]
    assert api.get(f"/sessions/{found['id']}").json() == found


def test_sandbox_whose_agent_had_no_prompt_has_no_sessions(api, agent_box):
    api.output(agent_box, "echo hi")
    assert sessions(api, agent_box) == []


def test_agent_without_a_prompt_has_no_session(api, agent_box):
    assert api.run(agent_box, "claude")["exit_code"] == 2
    assert sessions(api, agent_box) == []


def test_each_prompt_is_a_session_of_its_own_newest_first(api, agent_box):
    api.output(agent_box, "claude -p one; codex exec two")
    assert [found["agent_type"] for found in sessions(api, agent_box)] == ["codex", "claude-code"]


def test_prompts_at_the_same_time_have_one_session_after_the_other(api, agent_box):
    api.output(agent_box, "for i in $(seq 6); do claude -p $i & done; wait")
    found = sessions(api, agent_box)
    assert len({one["id"] for one in found}) == 6
    times = [(one["started_at"], one["ended_at"]) for one in reversed(found)]
    assert all(end <= start for (_, end), (start, _) in zip(times, times[1:]))


def test_the_model_of_the_command_line_is_the_sessions(api, agent_box):
    api.output(agent_box, "claude --model opus -p hi")
    assert session(api, agent_box)["model"] == "opus"


@pytest.mark.parametrize(
    ("line", "model"),
    [
        ("claude -p hi", None),
        ("claude --model=opus hi", "opus"),
        ("claude -m opus hi", "opus"),
        ("codex exec --model o3 hi", "o3"),
        ("aider --model sonnet -m hi", "sonnet"),
        ("aider -m hi", None),
        ("claude -p -- --model x", None),
        ("claude --model", None),
    ],
)
def test_the_model_is_found_in_a_command_line(line, model):
    program, *arguments = line.split()
    assert model_name(program, arguments) == model


# --- going on with a session


def resume(api, box, session, options="--output-format json"):
    """Resume a session of claude. Returns (what it printed, exit code)."""
    done = api.run(box, f"claude -p more --resume '{session}' {options}")
    return done["output"], done["exit_code"]


def test_session_of_the_sandbox_can_be_resumed(api, agent_box):
    printed = json.loads(api.output(agent_box, "claude -p hi --output-format json"))
    output, code = resume(api, agent_box, printed["session_id"])
    assert (code, json.loads(output)["is_error"]) == (0, False)
    assert len(sessions(api, agent_box)) == 2
    chosen = "6f1c1f0e-0000-4000-8000-000000000001"
    printed = json.loads(api.output(agent_box, f"claude -p hi --session-id {chosen} --output-format json"))
    assert printed["session_id"] == chosen
    assert resume(api, agent_box, chosen)[1] == 0
    assert api.run(agent_box, f"claude -r {chosen} -p more")["exit_code"] == 0
    assert api.run(agent_box, f"claude --resume={chosen} -p more")["exit_code"] == 0


def test_unknown_session_is_not_resumed(api, agent_box):
    codex = json.loads(api.output(agent_box, "codex exec --json hi").splitlines()[0])["thread_id"]
    before = sessions(api, agent_box)
    for name in ("sess_00000000", codex, "it is none"):
        for options in ("", "--output-format json"):
            expected = (f"No conversation found with session ID: {name}\n", 1)
            assert resume(api, agent_box, name, options) == expected
    assert sessions(api, agent_box) == before


def test_session_of_another_sandbox_can_be_resumed_where_a_snapshot_was_restored(api, agent_box):
    name = json.loads(api.output(agent_box, "claude -p hi --output-format json"))["session_id"]
    other = api.sandbox(agents=["claude"])
    assert resume(api, other, name)[1] == 1
    snapshot = api.post(f"/sandboxes/{agent_box}/snapshots").json()["id"]
    eventually(lambda: api.get(f"/snapshots/{snapshot}").json()["status"] == "completed", "the snapshot")
    assert api.post(f"/snapshots/{snapshot}/restore", json={"sandbox_id": other}).status_code < 300
    assert resume(api, other, name)[1] == 0


@pytest.mark.parametrize(
    ("line", "resumed", "chosen"),
    [
        ("claude -p hi", None, None),
        ("claude --resume s -p hi", "s", None),
        ("claude -r s hi", "s", None),
        ("claude --resume=s hi", "s", None),
        ("claude --resume -p hi", None, None),
        ("claude --resume", None, None),
        ("claude -p hi -- --resume s", None, None),
        ("claude -p hi --session-id u", None, "u"),
        ("codex exec resume s hi", None, None),
        ("aider --resume s -m hi", None, None),
    ],
)
def test_the_session_is_found_in_a_command_line(line, resumed, chosen):
    program, *arguments = line.split()
    assert (resumed_session(program, arguments), chosen_session(program, arguments)) == (resumed, chosen)


def test_an_active_session_has_no_end_yet(timed):
    api, _clock = timed
    box = api.sandbox(agents=["claude"])
    with at_work(api, box) as session_id:
        found = api.get(f"/sessions/{session_id}").json()
        assert set(found) == SESSION_KEYS
        assert (found["status"], found["duration_ms"], found["ended_at"]) == ("active", None, None)
        assert api.output(box, "echo the loop goes on") == "the loop goes on\n"
    assert api.get(f"/sessions/{session_id}").json()["status"] == "completed"


def test_the_next_agent_waits_for_its_turn(timed):
    api, _clock = timed
    box = api.sandbox(agents=["claude"])
    with at_work(api, box):
        second = threading.Thread(target=lambda: api.run(box, "touch begun; claude -p second"))
        second.start()
        eventually(lambda: api.read(box, "begun").status_code == 200, "the second command to begin")
        assert len(sessions(api, box)) == 1
    second.join(60)
    assert [found["status"] for found in sessions(api, box)] == ["completed", "completed"]


@pytest.mark.parametrize("reply", [Reply("no\n", 1), Reply("no\n", exit_code=130)])
def test_an_agent_that_fails_is_a_failed_session(api, reply):
    script(api, reply)
    box = api.sandbox(agents=["claude"])
    assert api.run(box, "claude -p hi")["exit_code"] == reply.exit_code
    assert session(api, box)["status"] == "failed"


def test_a_reply_that_raises_is_a_failed_session(api):
    answer_all(api, lambda prompt, box: 1 / 0)
    box = api.sandbox(agents=["claude"])
    assert api.run(box, "claude -p hi")["exit_code"] == 1
    assert session(api, box)["status"] == "failed"


def test_a_sandbox_destroyed_under_its_agent_leaves_a_failed_session(timed):
    api, _clock = timed
    box = api.sandbox(agents=["claude"])
    with at_work(api, box) as session_id:
        assert api.delete(f"/sandboxes/{box}").status_code == 204
        found = api.get(f"/sessions/{session_id}").json()
        assert found["status"] == "failed"
    assert api.get(f"/sessions/{session_id}").json() == found  # the answer that came too late changes nothing


# --- tokens and money


def test_tokens_and_cost_of_a_reply_are_the_sessions_and_the_sandboxes(api):
    script(api, Reply("ok\n", tokens_in=1200, tokens_out=34, cost_usd=0.25, model="opus-5"))
    box = api.sandbox(agents=["claude"])
    api.output(box, "claude --model other -p hi")
    found = session(api, box)
    assert (found["tokens_in"], found["tokens_out"], found["model"]) == (1200, 34, "opus-5")
    assert found["llm_cost"] == 0.25
    assert found["cost_usd"] == found["total_cost"] == pytest.approx(found["llm_cost"] + found["compute_cost"])
    api.output(box, "claude -p hi")
    box_now = api.get(f"/sandboxes/{box}").json()
    assert box_now["llm_cost"] == 0.5
    assert box_now["total_cost"] == pytest.approx(box_now["cost"] + 0.5)


def test_a_reply_that_claims_to_give_back_costs_nothing(api):
    script(api, Reply("ok\n", tokens_in=-5, cost_usd=-1.0))
    box = api.sandbox(agents=["claude"])
    assert "tokens_in" in api.post(f"/sandboxes/{box}/exec", json={"command": "claude -p hi"}).json()["output"]
    assert (session(api, box)["llm_cost"], session(api, box)["tokens_in"]) == (0, 0)
    assert api.get(f"/sandboxes/{box}").json()["llm_cost"] == 0


def test_model_spend_uses_up_the_budget(timed):
    api, clock = timed
    script(api, Reply("ok\n", cost_usd=0.9), Reply("ok\n", cost_usd=0.2))
    box = api.sandbox(agents=["claude"], budget=1.0)
    api.output(box, "claude -p hi")
    clock.advance(0)
    assert api.status(box) == "running"
    api.output(box, "claude -p hi")
    clock.advance(0)
    assert api.status(box) == "paused"
    assert_problem(api.post(f"/sandboxes/{box}/resume"), 409, code="budget_exceeded")


def test_compute_cost_is_the_machine_time_of_the_session(timed):
    api, clock = timed
    box = api.sandbox(agents=["claude"], cpus=8, memory_mb=1024, disk_gb=5, timeout=10**6)
    rate = 8 * 0.01 + 0.005 + 5 * 0.001
    clock.advance(3600)
    with at_work(api, box, ("ok\n", 0, 1, 1, 0.5)) as session_id:
        clock.advance(3600)
        active = api.get(f"/sessions/{session_id}").json()
        assert active["compute_cost"] == pytest.approx(rate, rel=0.01)
    clock.advance(3600)
    found = api.get(f"/sessions/{session_id}").json()
    assert found["compute_cost"] == pytest.approx(rate, rel=0.01)
    assert found["total_cost"] == pytest.approx(rate + 0.5, rel=0.01)
    assert found["duration_ms"] == pytest.approx(3_600_000, rel=0.01)


def test_time_that_the_sandbox_is_paused_costs_the_session_nothing(timed):
    api, clock = timed
    box = api.sandbox(agents=["claude"])
    with at_work(api, box) as session_id:
        api.post(f"/sandboxes/{box}/pause")
        clock.advance(3600)
        api.post(f"/sandboxes/{box}/resume")
    assert api.get(f"/sessions/{session_id}").json()["compute_cost"] < 0.001


# --- who may see it


def test_sessions_of_other_accounts_are_not_there(api, other, agent_box):
    api.output(agent_box, "claude -p hi")
    session_id = session(api, agent_box)["id"]
    for path in ("", "/replay", "/replay/summary"):
        assert_problem(other.get(f"/sessions/{session_id}{path}"), 404, session_id)
    assert_problem(other.get(f"/sandboxes/{agent_box}/sessions"), 404)
    assert other.get("/sessions").json()["data"] == []


@pytest.mark.parametrize("path", ["", "/replay", "/replay/summary"])
def test_an_unknown_session_is_not_found(api, path):
    assert_problem(api.get(f"/sessions/sess_missing0{path}"), 404, "sess_missing0")


def test_sessions_outlive_their_sandbox(api, agent_box):
    api.output(agent_box, "claude -p hi")
    found = session(api, agent_box)
    before = replay(api, found["id"])
    api.delete(f"/sandboxes/{agent_box}")
    assert_problem(api.get(f"/sandboxes/{agent_box}/sessions"), 404)
    assert api.get(f"/sessions/{found['id']}").json() == found
    assert replay(api, found["id"]) == before
    assert [one["id"] for one in api.get("/sessions").json()["data"]] == [found["id"]]


def test_sessions_go_with_their_account(own_emulator, new_api):
    emulator = own_emulator(isolation="process")
    api = new_api(emulator)
    api.output(api.sandbox(agents=["claude"]), "claude -p hi")
    emulator.remove_account(api.account_id)
    assert platform_of(emulator).store.sessions == {}


# --- paging


def test_sessions_are_listed_in_pages_newest_first(api, agent_box):
    api.output(agent_box, "for i in $(seq 5); do claude -p $i; done")
    everything = [found["id"] for found in sessions(api, agent_box)]
    first = api.get("/sessions", params={"per_page": 2}).json()
    assert first["pagination"] == {"page": 1, "per_page": 2, "total": 5, "total_pages": 3}
    pages = [api.get("/sessions", params={"page": page, "per_page": 2}).json()["data"] for page in (1, 2, 3)]
    assert [len(page) for page in pages] == [2, 2, 1]
    assert [found["id"] for page in pages for found in page] == everything


@pytest.mark.parametrize(
    ("query", "page", "per_page"),
    [
        ({}, 1, 20),
        ({"page": 7}, 7, 20),
        ({"page": 0, "per_page": 0}, 1, 20),
        ({"page": -3, "per_page": -1}, 1, 20),
        ({"per_page": 101}, 1, 100),
        ({"per_page": 99999999999999999999, "page": 99999999999999999999}, 99999999999999999999, 100),
    ],
)
def test_the_size_of_a_page_is_kept_within_bounds(api, query, page, per_page):
    answer = api.get("/sessions", params=query)
    assert answer.status_code == 200
    assert answer.json() == {
        "data": [],
        "pagination": {"page": page, "per_page": per_page, "total": 0, "total_pages": 0},
    }


@pytest.mark.parametrize("query", ["page=x", "per_page=1.5", "per_page="])
def test_what_is_not_a_number_is_refused(api, query):
    assert_problem(api.get(f"/sessions?{query}"), 400, query.partition("=")[0])


# --- replay


def test_a_replay_has_the_prompt_of_the_agent_and_its_response(api, agent_box):
    api.output(agent_box, "claude --model opus -p 'Fix it'")
    session_id = session(api, agent_box)["id"]
    page = replay(api, session_id)
    call, command = page["events"]
    assert set(call) == {"id", "session_id", "sequence", "type", "timestamp", "duration_ms", "data"}
    assert re.fullmatch(r"evt_[a-z0-9]{8}", call["id"])
    assert (call["session_id"], call["sequence"], call["type"]) == (session_id, 1, "llm_call")
    assert call["data"]["agent"] == "claude-code"
    assert (call["data"]["prompt"], call["data"]["model"], call["data"]["exit_code"]) == (
        "Fix it",
        "opus",
        0,
    )
    assert call["data"]["response"].endswith("Prompt: Fix it\n")
    assert (command["sequence"], command["type"]) == (2, "command")  # it was over after the answer
    assert command["data"] == {"command": "claude --model opus -p 'Fix it'", "exit_code": 0}
    assert command["duration_ms"] > 0
    assert (page["has_more"], page["next_seq"], page["total"]) == (False, 2, 2)
    assert session(api, agent_box)["event_count"] == 2


def test_what_happens_while_an_agent_is_at_work_belongs_to_its_session(timed):
    api, _clock = timed
    box = api.sandbox(agents=["claude"])
    api.output(box, "echo before")
    with at_work(api, box) as session_id:
        api.output(box, "echo during")
        api.write(box, "f", "x")
        api.read(box, "f")
    api.output(box, "echo after")
    events = replay(api, session_id)["events"]
    commands = [event["data"]["command"] for event in events if event["type"] == "command"]
    assert commands == ["echo during", "claude -p work"]
    assert [event["data"]["operation"] for event in events if event["type"] == "file_op"] == ["write", "read"]
    assert [event["sequence"] for event in events] == list(range(1, len(events) + 1))


def test_a_pause_while_an_agent_is_at_work_is_in_its_replay(timed):
    api, _clock = timed
    box = api.sandbox(agents=["claude"])
    with at_work(api, box) as session_id:
        api.post(f"/sandboxes/{box}/pause")
        api.post(f"/sandboxes/{box}/resume")
    actions = [event["data"]["action"] for event in replay(api, session_id, type="lifecycle")["events"]]
    assert actions[0] == "pause"
    assert "resume" in actions


@pytest.fixture(scope="module")
def long_session(shared_api):
    """A session of 1205 events: an llm_call, a command, then file_op and network in turn. Tests only read it."""
    api = shared_api
    box = api.sandbox(agents=["claude"])
    api.output(box, "claude -p hi")
    session_id = session(api, box)["id"]
    kinds = ["file_op", "network"] * 601 + ["file_op"]
    for part in (kinds[:1000], kinds[1000:]):
        batch = [{"type": kind, "session_id": session_id} for kind in part]
        assert ingest(api, *batch) == {"accepted": len(part), "errors": 0}
    return session_id


@pytest.mark.shared_sandbox
def test_a_replay_is_read_in_pages(api, long_session):
    seen, after = [], 0
    while True:
        page = replay(api, long_session, after_seq=after, limit=500)
        assert page["total"] == 1205
        seen += [event["sequence"] for event in page["events"]]
        after = page["next_seq"]
        assert after == seen[-1]
        if not page["has_more"]:
            break
    assert seen == list(range(1, 1206))


@pytest.mark.shared_sandbox
def test_the_size_of_a_replay_is_kept_within_bounds(api, long_session):
    sizes = ({}, 100), ({"limit": 3}, 3), ({"limit": 0}, 100), ({"limit": -1}, 100), ({"limit": 5000}, 1000)
    for query, count in sizes:
        page = replay(api, long_session, **query)
        assert len(page["events"]) == count, query
        assert page["has_more"] is True, query
        assert page["next_seq"] == count, query


@pytest.mark.shared_sandbox
def test_a_replay_of_one_type(api, long_session):
    page = replay(api, long_session, type="network", limit=2)
    assert [event["sequence"] for event in page["events"]] == [4, 6]
    assert (page["has_more"], page["next_seq"], page["total"]) == (True, 6, 601)
    rest = replay(api, long_session, type="network", limit=1000, after_seq=6)
    assert len(rest["events"]) == 599
    assert rest["has_more"] is False


@pytest.mark.shared_sandbox
def test_an_empty_type_is_not_a_filter_and_an_unknown_one_finds_nothing(api, long_session):
    assert replay(api, long_session, type="")["total"] == 1205
    assert replay(api, long_session, type="nothing") == {"events": [], "has_more": False, "next_seq": 0, "total": 0}


@pytest.mark.shared_sandbox
def test_after_the_last_event_there_are_none(api, long_session):
    page = replay(api, long_session, after_seq=1205)
    assert page == {"events": [], "has_more": False, "next_seq": 1205, "total": 1205}
    assert replay(api, long_session, after_seq=-5)["events"][0]["sequence"] == 1


@pytest.mark.parametrize("query", ["after_seq=x", "limit=many"])
def test_a_replay_from_nowhere_is_refused(api, agent_box, query):
    api.output(agent_box, "claude -p hi")
    session_id = session(api, agent_box)["id"]
    assert_problem(api.get(f"/sessions/{session_id}/replay?{query}"), 400, query.partition("=")[0])


def test_a_summary_counts_by_type(api, agent_box):
    api.output(agent_box, "claude -p hi")
    session_id = session(api, agent_box)["id"]
    later = {"type": "network", "session_id": session_id, "timestamp": "2099-01-01T00:00:10Z"}
    ingest(api, later, {**later, "type": "odd", "timestamp": "2099-01-01T00:00:00Z"})
    summary = api.get(f"/sessions/{session_id}/replay/summary").json()
    assert set(summary) == {"session_id", "event_count", "start_time", "end_time", "duration_ms", "types"}
    assert summary["session_id"] == session_id
    assert summary["types"] == {"llm_call": 1, "command": 1, "network": 1, "other": 1}
    assert summary["event_count"] == 4
    assert summary["start_time"] == replay(api, session_id)["events"][0]["timestamp"]
    assert summary["end_time"] == "2099-01-01T00:00:10.000Z"
    assert summary["duration_ms"] > 0


def test_a_summary_of_a_session_where_nothing_has_happened_yet(timed):
    api, _clock = timed
    box = api.sandbox(agents=["claude"])
    with at_work(api, box) as session_id:
        summary = api.get(f"/sessions/{session_id}/replay/summary").json()
        started = api.get(f"/sessions/{session_id}").json()["started_at"]
    assert summary == {
        "session_id": session_id,
        "event_count": 0,
        "start_time": started,
        "end_time": started,
        "duration_ms": 0,
        "types": {},
    }


def test_a_prompt_that_is_not_text_is_shown(api, agent_box):
    api.output(agent_box, "claude -p $'a\\xffb'")
    events = replay(api, session(api, agent_box)["id"])["events"]
    assert re.fullmatch(r"a\W{1,3}b", events[0]["data"]["prompt"])
    assert api.get(f"/sandboxes/{agent_box}/logs").status_code == 200


# --- bounds


def test_the_oldest_sessions_are_forgotten_first(own_emulator, new_api, monkeypatch):
    monkeypatch.setattr("caged.emulator.platform.agent_sessions.MOST", 3)
    api = new_api(own_emulator(isolation="process"))
    box = api.sandbox(agents=["claude"])
    api.output(box, "for i in 1 2 3 4 5; do claude -p $i; done")
    prompts = [replay(api, found["id"])["events"][0]["data"]["prompt"] for found in sessions(api, box)]
    assert prompts == ["5", "4", "3"]


def test_an_agent_does_not_wait_for_its_turn_for_ever(timed, monkeypatch):
    monkeypatch.setattr("caged.emulator.platform.agent_runs.TURN_SECONDS", 0.05)
    api, _clock = timed
    box = api.sandbox(agents=["claude"])
    with at_work(api, box):
        result = api.run(box, "claude -p second")
        assert result["exit_code"] == 1
        assert "another agent" in result["output"]
    assert len(sessions(api, box)) == 1
