"""Against a real socket: what MockTransport cannot show."""

import time

import pytest
from leftovers import until
from sdk_driver import SocketServer, http

from caged import CagedConnectionError, CagedTimeoutError

DROP = b""


def test_call_over_a_real_connection_sends_the_request_and_returns_the_answer(driver):
    with SocketServer(http("[]")) as server:
        assert driver.use(lambda c: c.sandboxes.list(), base_url=server.url) == []
    assert server.requests[0].startswith(b"GET /v1/sandboxes HTTP/1.1\r\n")


def test_a_dropped_read_is_repeated(driver):
    with SocketServer(DROP, http("[]")) as server:
        assert driver.use(lambda c: c.sandboxes.list(), base_url=server.url) == []
    assert len(server.requests) == 2


def test_a_dropped_create_is_not_repeated(driver):
    with SocketServer(DROP, http("{}")) as server:
        with pytest.raises(CagedConnectionError, match=r"POST /sandboxes: .*disconnected"):
            driver.use(lambda c: c.sandboxes.create(), base_url=server.url)
    assert len(server.requests) == 1


def test_a_truncated_answer_is_a_connection_error(driver):
    with SocketServer(http("[]").replace(b"Content-Length: 2", b"Content-Length: 20")) as server:
        with pytest.raises(CagedConnectionError, match="GET /sandboxes"):
            driver.use(lambda c: c.sandboxes.list(), base_url=server.url, max_retries=0)


def test_answer_that_is_not_http_is_a_connection_error(driver):
    with SocketServer(b"SSH-2.0-OpenSSH\r\n") as server:
        with pytest.raises(CagedConnectionError):
            driver.use(lambda c: c.sandboxes.list(), base_url=server.url, max_retries=0)


def test_silence_is_a_timeout_in_the_time_given(driver):
    with SocketServer(None) as server:
        begun = time.perf_counter()
        with pytest.raises(CagedTimeoutError, match=r"POST /sandboxes/x/exec timed out after 0\.1s"):
            driver.use(lambda c: c.sandboxes.exec("x", "sleep 9", timeout=0.1), base_url=server.url)
        assert time.perf_counter() - begun < 50
        until(lambda: server.requests)  # the client may have given up before the server has read
    assert len(server.requests) == 1


def test_a_read_that_timed_out_is_not_repeated(driver):
    with SocketServer(None, http("[]")) as server:
        with pytest.raises(CagedTimeoutError):
            driver.use(lambda c: c.sandboxes.list(), base_url=server.url, timeout=0.1)
        until(lambda: server.requests)
    assert len(server.requests) == 1


def test_port_without_a_server_is_a_connection_error_after_the_retries(driver, clock):
    with SocketServer() as server:
        pass
    with pytest.raises(CagedConnectionError, match=f"cannot connect to {server.url}"):
        driver.use(lambda c: c.sandboxes.create(), base_url=server.url)
    assert len(clock.pauses) == 2


def test_loopback_ignores_a_proxy_variable(driver, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "")
    with SocketServer(http("[]")) as server:
        assert driver.use(lambda c: c.sandboxes.list(), base_url=server.url) == []
