"""The helpers made of several calls."""

import httpx
import pytest
from sdk_driver import js

from caged import CagedError, CagedServerError, CagedTimeoutError


def snap(status, **more):
    return js({"id": "snap_1", "status": status, **more})


def test_restore_without_a_target_goes_into_the_snapshots_own_sandbox(driver):
    answers = [snap("completed", sandbox_id="cage_7"), js({"status": "restored"})]
    assert driver.run(answers, lambda c: c.snapshots.restore("snap_1")) is None
    first, second = driver.requests
    assert (first.method, first.url.path) == ("GET", "/v1/snapshots/snap_1")
    assert (second.method, second.url.path) == ("POST", "/v1/snapshots/snap_1/restore")
    assert second.content == b'{"target_sandbox_id":"cage_7"}'


def test_restore_asks_for_a_target_when_the_snapshot_does_not_name_one(driver):
    with pytest.raises(CagedError, match="pass target_sandbox_id"):
        driver.run(snap("completed"), lambda c: c.snapshots.restore("snap_1"))
    assert len(driver.requests) == 1


def test_wait_polls_until_the_snapshot_is_completed(driver, clock):
    answers = [snap("pending"), snap("pending"), snap("completed", size_bytes=5)]
    done = driver.run(answers, lambda c: c.snapshots.wait("snap_1"))
    assert (done.status, done.size_bytes) == ("completed", 5)
    assert len(clock.pauses) == 2


def test_wait_raises_when_the_snapshot_failed(driver):
    with pytest.raises(CagedError, match="snap_1 failed"):
        driver.run([snap("pending"), snap("failed")], lambda c: c.snapshots.wait("snap_1"))


def test_wait_ends_at_its_deadline(driver, clock):
    with pytest.raises(CagedTimeoutError, match=r"GET /snapshots/snap_1: .*still pending after 5s") as caught:
        driver.run(snap("pending"), lambda c: c.snapshots.wait("snap_1", timeout=5))
    assert caught.value.timeout == 5
    assert sum(clock.pauses) == pytest.approx(5)
    assert max(clock.pauses) <= 1
    assert len(driver.requests) < 20


def test_wait_without_a_limit_is_unlimited(driver, clock):
    answers = [snap("pending")] * 300 + [snap("completed")]
    assert driver.run(answers, lambda c: c.snapshots.wait("snap_1", timeout=None)).status == "completed"
    assert sum(clock.pauses) > 200


def test_waits_requests_have_no_more_time_than_is_left(driver):
    driver.run(snap("completed"), lambda c: c.snapshots.wait("snap_1", timeout=7), timeout=None)
    assert driver.request.extensions["timeout"]["read"] == 7


def test_a_request_of_wait_that_runs_into_the_deadline_is_the_waits_timeout(driver, clock):
    def hang(request):
        clock.time += request.extensions["timeout"]["read"]
        raise httpx.ReadTimeout("slow")

    with pytest.raises(CagedTimeoutError, match="still pending after 3s"):
        driver.run(hang, lambda c: c.snapshots.wait("snap_1", timeout=3))


def test_a_request_of_wait_that_is_slow_before_the_deadline_keeps_its_own_error(driver):
    with pytest.raises(CagedTimeoutError, match=r"timed out after 30\.0s"):
        driver.run(httpx.ReadTimeout("slow"), lambda c: c.snapshots.wait("snap_1"))


def test_no_retry_of_wait_begins_after_the_deadline(driver, clock):
    busy = httpx.Response(503, headers={"Retry-After": "50"})
    with pytest.raises(CagedServerError):
        driver.run(busy, lambda c: c.snapshots.wait("snap_1", timeout=10))
    assert clock.pauses == []


@pytest.mark.filterwarnings("error")
def test_download_url_is_the_url(driver):
    answer = {"url": "https://s/x.tar.gz", "expires_in_seconds": 3600}
    assert driver.run(js(answer), lambda c: c.snapshots.download_url("snap_1")) == "https://s/x.tar.gz"
    download = driver.run(js(answer), lambda c: c.snapshots.download("snap_1"))
    assert (download.url, download.expires_in_seconds) == ("https://s/x.tar.gz", 3600)


@pytest.mark.parametrize("answer", [{}, {"url": None}, {"url": ""}, {"url": 5}])
def test_download_url_without_a_url_is_an_error(driver, answer):
    with pytest.raises(CagedError, match="GET /snapshots/snap_1/download"):
        driver.run(js(answer), lambda c: c.snapshots.download_url("snap_1"))
