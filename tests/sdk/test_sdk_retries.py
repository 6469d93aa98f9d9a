"""What is tried again, how often, and after how long."""

import httpx
import pytest
from cases import each
from sdk_driver import js

import caged
from caged import CagedConnectionError, CagedError, CagedServerError, CagedTimeoutError

REPEATABLE = [
    (lambda c: c.sandboxes.list(), []),
    (lambda c: c.files.read("x", "/a"), {}),
    (lambda c: c.sandboxes.destroy("x"), {}),
    (lambda c: c.snapshots.delete("x"), {}),
    (lambda c: c.account.revoke_key("x"), {}),
    (lambda c: c.files.write("x", "/a", "b"), {}),
    (lambda c: c.socket_ticket(), {}),
    (lambda c: c.alerts.update_rule("x", enabled=True), {}),
    (lambda c: c.notifications.mark_read("x"), {}),
]
ONCE = [
    (lambda c: c.sandboxes.create(), {}),
    (lambda c: c.sandboxes.exec("x", "ls"), {}),
    (lambda c: c.sandboxes.pause("x"), {}),
    (lambda c: c.sandboxes.resume("x"), {}),
    (lambda c: c.snapshots.create("x"), {}),
    (lambda c: c.snapshots.restore("x", "y"), {}),
    (lambda c: c.account.create_key("x"), {}),
    (lambda c: c.events.ingest([]), {}),
    (lambda c: c.alerts.resolve("x"), {}),
    (lambda c: c.billing.create_checkout("pro"), {"url": "x"}),
]
NEVER_SENT = [httpx.ConnectError("refused"), httpx.ConnectTimeout("slow"), httpx.PoolTimeout("full")]
DROPPED = [
    httpx.RemoteProtocolError("Server disconnected without sending a response."),
    httpx.ReadError("reset"),
    httpx.WriteError("pipe"),
]


@each(("use", "answer"), REPEATABLE + ONCE)
@each("failure", NEVER_SENT)
def test_every_call_is_repeated_when_nothing_was_sent(driver, failure, use, answer):
    driver.run([failure, failure, js(answer)], use)
    assert len(driver.requests) == 3


@each(("use", "answer"), REPEATABLE)
@each("failure", DROPPED)
def test_harmless_calls_are_repeated_after_a_lost_connection(driver, failure, use, answer):
    driver.run([failure, js(answer)], use)
    assert len(driver.requests) == 2


@each(("use", "answer"), ONCE)
@each("failure", DROPPED)
def test_other_calls_are_never_sent_twice(driver, failure, use, answer):
    with pytest.raises(CagedConnectionError):
        driver.run([failure, js(answer)], use)
    assert len(driver.requests) == 1


@each("status", [429, 502, 503, 504])
@each(("use", "answer"), REPEATABLE)
def test_harmless_calls_are_repeated_when_the_server_is_busy(driver, status, use, answer):
    driver.run([httpx.Response(status), httpx.Response(status), js(answer)], use)
    assert len(driver.requests) == 3


@each("status", [429, 502, 503, 504])
@each(("use", "answer"), ONCE)
def test_other_calls_are_not_repeated_whatever_the_server_says(driver, status, use, answer):
    with pytest.raises(caged.CagedAPIError):
        driver.run([httpx.Response(status, headers={"Retry-After": "0"}), js(answer)], use)
    assert len(driver.requests) == 1


@each("status", [302, 400, 401, 403, 404, 409, 500, 501])
def test_other_statuses_are_final(driver, status):
    with pytest.raises(caged.CagedAPIError):
        driver.run([httpx.Response(status), js([])], lambda c: c.sandboxes.list())
    assert len(driver.requests) == 1


@pytest.mark.parametrize("failure", [httpx.ReadTimeout("slow"), httpx.WriteTimeout("slow")])
def test_the_callers_timeout_is_not_multiplied_by_retries(driver, failure):
    with pytest.raises(CagedTimeoutError):
        driver.run([failure, js([])], lambda c: c.sandboxes.list())
    assert len(driver.requests) == 1


@pytest.mark.parametrize("max_retries", [0, 1, 2, 5])
def test_max_retries_bounds_the_attempts_and_the_last_failure_is_raised(driver, max_retries):
    answers = [httpx.Response(503, text=f"attempt {n}") for n in range(9)]
    with pytest.raises(CagedServerError, match=f"attempt {max_retries}$"):
        driver.run(answers, lambda c: c.sandboxes.list(), max_retries=max_retries)
    assert len(driver.requests) == max_retries + 1


def test_retries_of_a_connection_that_never_comes_end_in_its_error(driver):
    with pytest.raises(CagedConnectionError, match=r"cannot connect to http://api\.test: refused"):
        driver.run(httpx.ConnectError("refused"), lambda c: c.sandboxes.create())
    assert len(driver.requests) == 3


def test_pauses_double_up_to_a_limit(driver, clock, monkeypatch):
    monkeypatch.setattr("random.uniform", lambda low, high: (low, high)[1])
    with pytest.raises(CagedServerError):
        driver.run(lambda request: httpx.Response(503), lambda c: c.sandboxes.list(), max_retries=7)
    assert clock.pauses == [0.5, 1, 2, 4, 8, 8, 8]


def test_pauses_have_full_jitter(driver, clock):
    with pytest.raises(CagedServerError):
        driver.run(lambda request: httpx.Response(503), lambda c: c.sandboxes.list(), max_retries=40)
    assert len(set(clock.pauses)) == 40
    assert 0 <= min(clock.pauses) < max(clock.pauses) <= 8


@pytest.mark.parametrize("header", ["3", "60", "0"])
def test_retry_after_is_honoured(driver, clock, header):
    driver.run([httpx.Response(429, headers={"Retry-After": header}), js([])], lambda c: c.sandboxes.list())
    assert clock.pauses == [float(header)]


def test_a_retry_after_beyond_a_minute_goes_to_the_caller_at_once(driver, clock):
    with pytest.raises(caged.CagedRateLimitError) as caught:
        driver.run(httpx.Response(429, headers={"Retry-After": "61"}), lambda c: c.sandboxes.list())
    assert caught.value.retry_after == 61.0
    assert clock.pauses == []
    assert len(driver.requests) == 1


def test_a_delete_whose_first_answer_was_lost_has_worked_when_the_second_finds_nothing(driver):
    answers = [httpx.RemoteProtocolError("gone"), httpx.Response(503), httpx.Response(404)]
    assert driver.run(answers, lambda c: c.sandboxes.destroy("x")) is None


@pytest.mark.parametrize("failure", [httpx.ConnectError("refused"), httpx.Response(503)])
def test_a_delete_that_cannot_have_arrived_before_is_still_not_found(driver, failure):
    with pytest.raises(caged.CagedNotFoundError):
        driver.run([failure, httpx.Response(404)], lambda c: c.sandboxes.destroy("x"))


def test_a_get_that_is_not_found_after_a_lost_connection_is_not_found(driver):
    with pytest.raises(caged.CagedNotFoundError):
        driver.run([httpx.ReadError("x"), httpx.Response(404)], lambda c: c.sandboxes.get("x"))


def test_an_unexpected_failure_is_not_repeated(driver):
    with pytest.raises(CagedError):
        driver.run([httpx.UnsupportedProtocol("x"), js([])], lambda c: c.sandboxes.list())
    assert len(driver.requests) == 1
