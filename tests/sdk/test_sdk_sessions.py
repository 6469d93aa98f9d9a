"""Replay over several pages, events as they are sent, and answers that are read in a way of their own."""

import datetime
import json

import pytest
from sdk_driver import js

import caged
from caged import CagedError, EventPayload


def page(*sequences, more=False, following=0):
    events = [{"id": f"ev_{number}", "sequence": number} for number in sequences]
    return js({"events": events, "has_more": more, "next_seq": following, "total": 9})


def all_of(driver, **arguments):
    """The sequence numbers that `replay_events` gives."""

    def use(client):
        return [event.sequence for event in client.sessions.replay_events("ses_1", **arguments)]

    async def use_async(client):
        return [event.sequence async for event in client.sessions.replay_events("ses_1", **arguments)]

    return use if driver.kind == "sync" else use_async


def test_replay_events_follows_the_pages(driver):
    answers = [page(1, 2, more=True, following=2), page(more=True, following=5), page(6)]
    assert driver.run(answers, all_of(driver, type="command")) == [1, 2, 6]
    queries = [request.url.query for request in driver.requests]
    assert queries == [b"type=command", b"after_seq=2&type=command", b"after_seq=5&type=command"]


def test_replay_events_fetches_no_page_before_it_is_needed(driver):
    def use(client):
        return next(client.sessions.replay_events("ses_1")).sequence

    async def use_async(client):
        events = client.sessions.replay_events("ses_1")
        first = await events.__anext__()
        await events.aclose()
        return first.sequence

    answers = [page(1, 2, more=True, following=2)]
    assert driver.run(answers, use if driver.kind == "sync" else use_async) == 1
    assert len(driver.requests) == 1


@pytest.mark.parametrize("following", [0, 3, 4])
def test_a_replay_whose_next_seq_does_not_advance_is_an_error(driver, following):
    answers = [page(5, more=True, following=following)]
    with pytest.raises(CagedError, match=f"more after 4, but next_seq is {following}"):
        driver.run(answers, all_of(driver, after_seq=4))


def sent(driver, event):
    driver.run(js({"accepted": 1, "errors": 0}), lambda client: client.events.ingest([event]))
    (request,) = driver.requests
    driver.requests.clear()
    return json.loads(request.content)["events"][0]


def test_an_event_is_sent_with_what_was_given(driver):
    event = EventPayload("command", "cage_1", "ses_1", "ev_1", "7", "2026-01-01T00:00:00Z", 0, {"budget_usd": "5"}, {})
    assert sent(driver, event) == {
        "type": "command",
        "timestamp": "2026-01-01T00:00:00Z",
        "id": "ev_1",
        "sandbox_id": "cage_1",
        "session_id": "ses_1",
        "process_id": "7",
        "meta": {"budget_usd": "5"},
        "duration_ns": 0,
        "payload": {},
    }


def test_an_event_without_a_time_gets_the_present_one(driver):
    before = datetime.datetime.now(datetime.timezone.utc)
    event = sent(driver, EventPayload("lifecycle"))
    assert set(event) == {"type", "timestamp"}
    assert event["timestamp"].endswith("Z")
    when = datetime.datetime.fromisoformat(event["timestamp"][:-1] + "+00:00")
    assert before <= when <= datetime.datetime.now(datetime.timezone.utc)


def test_event_with_data_warns_and_sends_it_as_its_payload(driver):
    with pytest.warns(DeprecationWarning, match=r"use EventPayload\.payload"):
        assert sent(driver, EventPayload("command", data={"a": 1}))["payload"] == {"a": 1}
    with pytest.warns(DeprecationWarning, match="payload"):
        both = sent(driver, EventPayload("command", data={"a": 1}, payload={"b": 2}))
    assert both["payload"] == {"b": 2}
    assert "data" not in both


def test_ingest_returns_what_was_accepted(driver):
    answer = driver.run(js({"accepted": 2, "errors": 1}), lambda client: client.events.ingest([]))
    assert answer == caged.IngestResponse(2, 1)


@pytest.mark.parametrize("answer", [{}, {"unread_count": None}, {"unread_count": "5"}, {"unread_count": True}, []])
def test_an_unread_count_that_is_not_a_number_is_an_error(driver, answer):
    with pytest.raises(CagedError, match=r"unread.count"):
        driver.run(js(answer), lambda client: client.notifications.unread_count())


def test_unread_notifications_come_without_their_page(driver):
    answer = {"notifications": [{"id": "ntf_1"}], "unread_count": 4}
    unread = driver.run(js(answer), lambda client: client.notifications.list_unread(limit=1))
    assert unread == [caged.Notification(id="ntf_1")]
    assert driver.run(js({"unread_count": 4}), lambda client: client.notifications.unread_count()) == 4


@pytest.mark.parametrize("answer", [{}, {"url": None}, {"url": 5}, [], "x"])
def test_a_billing_page_without_an_address_is_an_error(driver, answer):
    for use in (lambda client: client.billing.create_checkout("pro"), lambda client: client.billing.create_portal()):
        with pytest.raises(CagedError, match="POST /billing/"):
            driver.run(js(answer), use)


def test_billing_call_returns_the_address_of_the_page(driver):
    answer = js({"url": "https://pay"})
    assert driver.run(answer, lambda client: client.billing.create_checkout("team")) == "https://pay"
    assert driver.run(answer, lambda client: client.billing.create_portal()) == "https://pay"
