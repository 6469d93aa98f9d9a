"""With a seed everything but credentials repeats from run to run: ids, times, answers to the byte."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import httpx
import pytest
from leftovers import until

KEY = "caged_sk_" + "k" * 32
SEEDED_START = datetime(2026, 1, 1, tzinfo=timezone.utc)
#: Of the connection, and of the real time it was made at.
_OF_THE_CONNECTION = ("date", "connection")


def script(http, emulator):
    """Calls of most kinds; the answers as (call, status, headers, body)."""
    answers = []

    def call(method, path, **options):
        answer = http.request(method, f"/v1{path}", **options)
        headers = sorted((k, v) for k, v in answer.headers.items() if k not in _OF_THE_CONNECTION)
        answers.append((f"{method} {path}", answer.status_code, headers, answer.content))
        return answer

    box = call("POST", "/sandboxes", json={"template": "minimal", "agents": ["claude-code"], "budget": 1}).json()["id"]
    call("POST", f"/sandboxes/{box}/exec", json={"command": "echo out; echo err >&2; exit 3"})
    call("POST", f"/sandboxes/{box}/exec", json={"command": "claude -p 'Say something'"})
    call("PUT", f"/sandboxes/{box}/files/content", params={"path": "a"}, json={"content": "x"})
    call("GET", f"/sandboxes/{box}/files/content", params={"path": "a"})
    call("GET", f"/sandboxes/{box}/files/content", params={"path": "missing"})
    call("POST", "/events/ingest", json={"events": [{"type": "error", "sandbox_id": box, "payload": {}}]})

    def snapshots():  # queried at the emulator: how often must not show in the answers
        return sum(event.data["action"] == "snapshot" for event in emulator.journal.events(box, type="lifecycle"))

    call("POST", f"/sandboxes/{box}/snapshots", json={"name": "one"})
    until(lambda: snapshots() == 1)
    call("POST", f"/sandboxes/{box}/pause")
    until(lambda: snapshots() == 2)
    call("POST", f"/sandboxes/{box}/pause")
    call("POST", f"/sandboxes/{box}/resume")
    for path in ("", f"/{box}", f"/{box}/logs", f"/{box}/sessions", f"/{box}/ports", "/cage_unknown"):
        call("GET", f"/sandboxes{path}")
    for path in ("/account", "/sessions", "/alerts", "/alerts/rules", "/notifications", "/billing/usage", "/trust"):
        call("GET", path)
    call("DELETE", f"/sandboxes/{box}")
    call("GET", "/sandboxes", headers={"Authorization": "Bearer caged_sk_unknown"})
    return answers


@pytest.fixture
def run(own_emulator):
    def act(seed):
        emulator = own_emulator(seed=seed, api_key=KEY)
        headers = {"Authorization": f"Bearer {KEY}"}
        with httpx.Client(
            base_url=emulator.base_url, headers=headers, trust_env=False, verify=False, timeout=60
        ) as http:
            return script(http, emulator)

    return act


def test_two_emulators_with_one_seed_answer_the_same_to_the_byte(run):
    first, second = run(5), run(5)
    assert len(first) == len(second)
    for one, two in zip(first, second):
        assert one == two


def test_another_seed_gives_other_ids(run):
    first, second = run(5), run(6)
    assert first[0][3] != second[0][3]
    assert [answer[1] for answer in first] == [answer[1] for answer in second]


def test_without_a_seed_nothing_repeats(own_emulator):
    ids = set()
    for _ in range(2):
        with own_emulator(api_key=KEY).client() as client:
            ids.add(client.sandboxes.create(template="minimal").id)
    assert len(ids) == 2


def test_time_of_a_seeded_emulator_stands_at_new_year_until_it_is_moved(own_emulator):
    emulator = own_emulator(seed=1)
    assert emulator.clock.frozen
    assert emulator.clock.now() == SEEDED_START
    with emulator.client() as client:
        assert client.sandboxes.create(template="minimal").created_at == "2026-01-01T00:00:00.000Z"
        emulator.clock.advance(minutes=1)
        assert client.sandboxes.create(template="minimal").created_at == "2026-01-01T00:01:00.000Z"
        for account in (None, "*"):
            emulator.clock.advance(days=1, account=account)
            assert emulator.clock.reset(account=account) == SEEDED_START, "its own time is the one of the start"
            assert emulator.clock.frozen


def test_frozen_clock_of_a_seed_can_be_unfrozen(own_emulator):
    emulator = own_emulator(seed=1)
    emulator.clock.unfreeze()
    until(lambda: emulator.clock.now() > SEEDED_START)
    assert emulator.clock.now() - SEEDED_START < timedelta(minutes=1)
    with emulator.client() as client:
        box = client.sandboxes.create(template="minimal").id
        client.sandboxes.exec(box, "sleep 0.1")
    assert 100 <= emulator.journal.commands()[-1].duration_ms < 60_000


def test_looking_at_the_emulator_changes_no_id(own_emulator):
    def ids(look):
        emulator = own_emulator(seed=3, api_key=KEY)
        with emulator.client() as client:
            for _ in range(look):
                emulator.journal.requests()
                emulator.faults.list()
            answer = httpx.get(
                f"{emulator.base_url}/v1/account",
                headers={"Authorization": f"Bearer {KEY}"},
                trust_env=False,
                verify=False,
                timeout=60,
            )
            return answer.headers["X-Request-Id"], client.sandboxes.create(template="minimal").id

    assert ids(0) == ids(3)
