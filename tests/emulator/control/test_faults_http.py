"""What a fault does to a call over HTTP: what the wire shows, and what the SDK makes of it."""

from __future__ import annotations

import threading
import time

import httpx
import pytest
from leftovers import processes_with, unique_seconds, until

from caged import (
    Caged,
    CagedAPIError,
    CagedConnectionError,
    CagedError,
    CagedRateLimitError,
    CagedServerError,
    CagedTimeoutError,
)

# --- answers


def test_a_status_comes_as_a_problem_of_the_platform(double, api):
    fault = double.faults.add("sandboxes.list", status=503)
    answer = api.get("/v1/sandboxes")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["X-Request-Id"].startswith("req_")
    assert "X-RateLimit-Limit" in answer.headers
    assert answer.json() == {
        "type": "https://caged.dev/errors/Service Unavailable",
        "title": "Service Unavailable",
        "status": 503,
        "detail": f"injected by fault {fault.id}",
    }


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 418, 422, 429, 451, 500, 501, 502, 503, 504, 507])
def test_every_status_can_be_had(double, api, client, status):
    double.faults.add("sandboxes.list", status=status)
    assert api.get("/v1/sandboxes").status_code == status
    with pytest.raises(CagedAPIError) as caught:
        client.sandboxes.list()
    assert caught.value.status == status


def test_reason_detail_and_retry_after_arrive(double, api, client):
    double.faults.add("sandboxes.create", status=409, reason="capacity", detail="no room today", retry_after=17)
    answer = api.post("/v1/sandboxes", json={})
    assert answer.json()["reason"]["code"] == "capacity"
    assert answer.json()["detail"] == "no room today"
    assert answer.headers["Retry-After"] == "17"
    with pytest.raises(CagedAPIError, match="no room today") as caught:
        client.sandboxes.create()
    assert caught.value.reason is not None
    assert (caught.value.reason.code, caught.value.retry_after) == ("capacity", 17)


@pytest.mark.parametrize(
    ("body", "media"),
    [
        ("<html>502 Bad Gateway</html>", "text/html"),
        ('{"message": "gone"}', "application/json"),
        ("[1]", "application/json"),
        ("upstream connect error", "text/plain"),
        ("", "text/plain"),
        ('{"cut', "application/json"),
    ],
)
def test_a_body_replaces_the_problem_as_one_of_a_proxy_would(double, api, client, body, media):
    double.faults.add("sandboxes.list", status=502, body=body)
    answer = api.get("/v1/sandboxes")
    assert answer.text == body
    assert answer.headers["content-type"].partition(";")[0] == media
    with pytest.raises(CagedServerError) as caught:
        client.sandboxes.list()
    assert caught.value.text == body


def test_the_call_was_not_done(double, client):
    double.faults.add("sandboxes.create", status=500)
    with pytest.raises(CagedServerError):
        client.sandboxes.create(template="minimal")
    assert client.sandboxes.list() == []


def test_a_rate_limit_says_when_to_come_again(double, api, client):
    double.faults.add(rate_limit=30)
    answer = api.get("/v1/sandboxes")
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "30")
    assert answer.json()["detail"] == "rate limit reached"
    with pytest.raises(CagedRateLimitError) as caught:
        client.sandboxes.list()
    assert caught.value.retry_after == 30


def test_an_unreachable_sandbox_answers_with_an_error(double, api, client, box):
    double.faults.add(unreachable=True, detail="no route to the machine", times=1)
    assert api.get(f"/v1/sandboxes/{box}").status_code == 200, "only exec answers so"
    result = client.sandboxes.exec(box, "echo here")
    assert (result.ok, result.exit_code, result.error) == (False, -1, "no route to the machine")
    assert client.sandboxes.exec(box, "echo here").output == "here\n"
    assert [ran.command for ran in double.journal.commands()] == ["echo here"], "the first did not run"


# --- lateness


def test_a_delay_alone_only_makes_the_call_late(double, client):
    double.faults.add("sandboxes.list", delay=0.3, times=1)
    begun = time.monotonic()
    assert client.sandboxes.list() == []
    assert time.monotonic() - begun >= 0.3


def test_a_delay_comes_before_the_rest(double, api):
    double.faults.add("sandboxes.list", delay=0.3, status=503)
    begun = time.monotonic()
    assert api.get("/v1/sandboxes").status_code == 503
    assert time.monotonic() - begun >= 0.3


def test_a_client_that_does_not_wait_for_a_late_answer_times_out(double, emulator, account):
    fault = double.faults.add("sandboxes.list", delay=60)
    with Caged(account.api_key, emulator.base_url, timeout=0.2, max_retries=0) as hasty:
        with pytest.raises(CagedTimeoutError, match="no answer"):
            hasty.sandboxes.list()
    until(lambda: double.journal[-1].status == 499, what=lambda: double.journal[-1])
    assert fault.triggered == 1


def test_a_hang_ends_when_the_client_goes(double, emulator, account):
    double.faults.add("sandboxes.list", hang=True)
    with Caged(account.api_key, emulator.base_url, timeout=0.2, max_retries=0) as hasty:
        with pytest.raises(CagedTimeoutError, match="no answer"):
            hasty.sandboxes.list()
    until(lambda: double.journal[-1].status == 499, what=lambda: double.journal[-1])


def hanging(client):
    """A thread in a call that hangs, and where its error will be."""
    errors = []

    def call():
        try:
            client.sandboxes.list()
        except CagedError as error:
            errors.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    return thread, errors


@pytest.mark.parametrize("how", ["removed", "cleared", "reset"])
def test_a_hang_ends_with_its_fault(double, client, how):
    fault = double.faults.add("sandboxes.list", hang=True)
    thread, errors = hanging(client)
    until(lambda: fault.triggered == 1)
    {"removed": fault.remove, "cleared": double.faults.clear, "reset": double.reset}[how]()
    thread.join(60)
    assert isinstance(errors[0], CagedConnectionError)
    assert client.sandboxes.list() == []


def test_a_hang_ends_with_the_emulator(own_emulator, monkeypatch):
    monkeypatch.setattr("caged.emulator.server.GRACE_SECONDS", 100)  # for which calls in progress are waited for
    emulator = own_emulator()
    fault = emulator.faults.add("sandboxes.list", hang=True)
    with emulator.client(max_retries=0, timeout=200) as client:
        thread, errors = hanging(client)
        until(lambda: fault.triggered == 1)
        begun = time.monotonic()
        emulator.stop()
        thread.join(60)
        assert time.monotonic() - begun < 50, "calls that hang are not waited for"
        assert isinstance(errors[0], CagedConnectionError)


# --- broken connections


@pytest.mark.parametrize("drop", ["before", "after", "mid-body"])
def test_what_a_client_sees_of_a_broken_connection(double, api, client, drop):
    double.faults.add("sandboxes.list", drop=drop)
    with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
        api.get("/v1/sandboxes")
    with pytest.raises(CagedConnectionError, match="the connection failed"):
        client.sandboxes.list()


def test_dropped_before_the_call_was_not_done(double, client, box):
    with double.faults.add("files.write", drop="before"), pytest.raises(CagedConnectionError):
        client.files.write(box, "a", "x")
    assert client.files.list(box) == []
    assert double.journal.requests(operation="files.write")[0].status == 0


@pytest.mark.parametrize("drop", ["after", "mid-body"])
def test_dropped_later_it_was(double, client, box, drop):
    with double.faults.add("files.write", drop=drop), pytest.raises(CagedConnectionError):
        client.files.write(box, "a", "x")
    assert client.files.read(box, "a") == "x"
    assert double.journal.requests(operation="files.write")[0].status in (200, 204)


def test_a_create_whose_answer_was_lost_has_made_a_sandbox(double, client):
    with double.faults.add("sandboxes.create", drop="after"), pytest.raises(CagedConnectionError):
        client.sandboxes.create(template="minimal")
    assert len(client.sandboxes.list()) == 1


def test_answer_dropped_in_its_body_arrives_in_half(double, api, box):
    double.faults.add("sandboxes.get", drop="mid-body")
    whole = int(api.get("/v1/sandboxes").headers["content-length"]) - 2
    got = b""
    with api.stream("GET", f"/v1/sandboxes/{box}") as answer:
        assert answer.status_code == 200
        with pytest.raises(httpx.RemoteProtocolError, match="without sending complete"):  # noqa: PT012
            for piece in answer.iter_raw():
                got += piece
    assert got.startswith(b'{"id":')
    assert abs(len(got) - whole // 2) <= 8


@pytest.mark.parametrize("count", [0, 1, 100])
def test_so_many_bytes_of_an_answer_arrive(double, api, client, box, count):
    client.files.write(box, "a", "0123456789" * 100)
    double.faults.add("files.read", truncate=count)
    got = b""
    with api.stream("GET", f"/v1/sandboxes/{box}/files/content", params={"path": "a"}) as answer:
        with pytest.raises(httpx.RemoteProtocolError):  # noqa: PT012
            for piece in answer.iter_raw():
                got += piece
    assert len(got) == count
    with pytest.raises(CagedConnectionError):
        client.files.read(box, "a")


def test_an_answer_that_is_short_enough_arrives_whole(double, client, box):
    client.files.write(box, "a", "x")
    with double.faults.add("files.read", truncate=10_000, optional=True) as fault:
        assert client.files.read(box, "a") == "x"
        assert fault.triggered == 0, "nothing was cut"


def big_snapshot(client, box):
    """The address of a download of a megabyte that does not compress."""
    client.sandboxes.exec(box, "head -c 1000000 /dev/urandom > noise")
    return client.snapshots.download_url(client.snapshots.wait(client.snapshots.create(box).id).id)


@pytest.mark.parametrize("count", [0, 1000, 300_000])
def test_a_download_breaks_off_in_its_stream(double, client, box, count):
    url = big_snapshot(client, box)
    got = 0
    with double.faults.add("snapshots.content", truncate=count):
        with httpx.stream("GET", url, trust_env=False, verify=False, timeout=60) as answer:
            assert answer.status_code == 200
            with pytest.raises(httpx.RemoteProtocolError):  # noqa: PT012
                for piece in answer.iter_raw():
                    got += len(piece)
    assert got == count
    assert len(httpx.get(url, trust_env=False, verify=False, timeout=60).content) > 1_000_000


@pytest.mark.parametrize(("fault", "status"), [({"status": 503}, 503), ({"rate_limit": 1}, 429), ({"delay": 0.1}, 200)])
def test_download_without_a_key_gets_the_faults_of_its_account(double, other, client, box, fault, status):
    url = big_snapshot(client, box)
    double.faults.add("snapshots.content", account=other.id, status=500, optional=True)
    with double.faults.add("snapshots.content", **fault):
        assert httpx.get(url, trust_env=False, verify=False, timeout=60).status_code == status
    assert double.journal[-1].operation == "snapshots.content"


def test_a_broken_answer_without_a_body_is_none(double, api, box):
    double.faults.add("sandboxes.destroy", drop="mid-body")
    with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
        api.delete(f"/v1/sandboxes/{box}")
    assert api.get(f"/v1/sandboxes/{box}").status_code == 404


# --- outcomes


def test_a_create_ends_in_error(double, client):
    with double.faults.add(outcome="error", detail="the image is broken", times=1):
        box = client.sandboxes.create(template="minimal")
    assert box.status == "error"
    assert "the image is broken" in client.sandboxes.logs(box.id)[-1].message
    result = client.sandboxes.exec(box.id, "true")
    assert (result.exit_code, result.error) == (-1, f"sandbox {box.id} is error, not running")
    assert client.sandboxes.create(template="minimal").status == "running"


def test_a_snapshot_fails(double, client, box):
    with double.faults.add(outcome="failed", detail="the store is full", times=1):
        made = client.snapshots.create(box)
    with pytest.raises(CagedError, match="failed"):
        client.snapshots.wait(made.id)
    assert client.snapshots.get(made.id).status == "failed"
    assert "the store is full" in client.sandboxes.logs(box)[-1].message
    assert client.snapshots.wait(client.snapshots.create(box).id).status == "completed"


def test_a_sandbox_dies_in_the_middle_of_an_exec(double, client, box):
    mark = unique_seconds()
    client.sandboxes.exec(box, f"sleep {mark} >/dev/null 2>&1 &")
    with double.faults.add(outcome="dies", delay=0.1):
        result = client.sandboxes.exec(box, f"touch begun; sleep {mark}")
    assert result.exit_code == -1
    assert result.error is not None
    assert box in result.error
    until(lambda: not processes_with(mark), what=lambda: processes_with(mark))
    assert client.sandboxes.get(box).status == "error"
    assert client.sandboxes.exec(box, "true").error == f"sandbox {box} is error, not running"
    client.sandboxes.destroy(box)


def test_sandbox_lives_on_when_its_command_ends_before_the_delay(double, client):
    for delay in (1, 5, 25):  # on a busy machine the command may take longer than the delay: another one gets more time
        box = client.sandboxes.create(template="minimal").id
        with double.faults.add(outcome="dies", delay=delay, optional=True) as fault:
            output = client.sandboxes.exec(box, "echo quick").output
            died = fault.triggered
        if not died:
            break
    assert output == "quick\n"
    assert client.sandboxes.exec(box, f"sleep {delay + 0.2}; echo alive").output == "alive\n"


# --- the SDK's retries


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_reading_is_tried_again_until_it_works(double, patient, status):
    client, waits = patient
    with double.faults.add("sandboxes.list", status=status, times=2) as fault:
        assert client.sandboxes.list() == []
        assert fault.triggered == 2
    assert len(waits) == 2
    assert [entry.status for entry in double.journal] == [status, status, 200]


def test_in_the_end_it_gives_up(double, patient):
    client, waits = patient
    with double.faults.add("sandboxes.list", status=503) as fault:
        with pytest.raises(CagedServerError):
            client.sandboxes.list()
        assert fault.triggered == 3
    assert len(waits) == 2


@pytest.mark.parametrize("status", [400, 404, 409, 500, 501])
def test_what_another_try_does_not_help_is_not_tried_again(double, patient, status):
    client, waits = patient
    with double.faults.add("sandboxes.list", status=status) as fault:
        with pytest.raises(CagedAPIError):
            client.sandboxes.list()
        assert fault.triggered == 1
    assert waits == []


@pytest.mark.parametrize("act", ["create", "exec"])
@pytest.mark.parametrize("fault", [{"status": 503}, {"drop": "before"}, {"drop": "after"}])
def test_what_does_harm_twice_is_not_tried_again(double, patient, box, act, fault):
    client, waits = patient
    with double.faults.add(f"sandboxes.{act}", **fault) as met:
        with pytest.raises((CagedServerError, CagedConnectionError)):
            client.sandboxes.create() if act == "create" else client.sandboxes.exec(box, "true")
        assert met.triggered == 1
    assert waits == []


def test_sdk_waits_as_long_as_retry_after_says(double, patient):
    client, waits = patient
    with double.faults.add("sandboxes.list", rate_limit=7, times=1):
        assert client.sandboxes.list() == []
    assert waits == [7]


def test_rate_limit_of_an_hour_is_raised_without_a_wait(double, patient):
    client, waits = patient
    with double.faults.add("sandboxes.list", rate_limit=3600):
        with pytest.raises(CagedRateLimitError):
            client.sandboxes.list()
    assert waits == []


@pytest.mark.parametrize("drop", ["before", "after", "mid-body"])
def test_a_lost_connection_is_made_again_for_what_does_no_harm_twice(double, patient, box, drop):
    client, waits = patient
    with double.faults.add("files.write", drop=drop, times=1):
        client.files.write(box, "a", "x")
    with double.faults.add("sandboxes.destroy", drop=drop, times=1):
        client.sandboxes.destroy(box)  # the second try gets a 404 when the first has done it
    assert len(waits) == 2
    assert client.sandboxes.list() == []
