"""Making, using and closing clients."""

import asyncio
import gc
import os
import ssl

import httpx
import pytest
from cases import each
from sdk_driver import KEY, js

from caged import AsyncCaged, Caged, CagedError, _http

BOTH = pytest.mark.parametrize("client_class", [Caged, AsyncCaged])
OK = httpx.MockTransport(js([]))


@BOTH
def test_no_key_anywhere_says_what_to_do(client_class):
    with pytest.raises(CagedError, match=r"Caged\(api_key=\.\.\.\) or set CAGED_API_KEY"):
        client_class()


@BOTH
@each("key", ["", "schlüssel", "a b", "a\n", "a\x00", "\x7f", b"bytes", 5, "\ud800"])
def test_a_key_that_cannot_be_sent_is_refused_and_not_quoted(client_class, key):
    with pytest.raises(CagedError) as caught:
        client_class(key)
    assert not isinstance(key, str) or not key or key not in str(caught.value)


@BOTH
def test_key_url_timeout_and_transport_may_be_positional_in_this_order(client_class):
    """The order of the platform's own client."""
    for client in (client_class("k", "http://h", 5.0, OK), client_class("k", "http://h", 5.0, None)):
        close = client.close()
        if asyncio.iscoroutine(close):
            asyncio.run(close)


def test_key_and_url_come_from_the_environment(driver, monkeypatch):
    monkeypatch.setenv("CAGED_API_KEY", "caged_sk_env")
    monkeypatch.setenv("CAGED_BASE_URL", "http://from.env/x/")
    driver.run(js([]), lambda c: c.sandboxes.list(), api_key=None, base_url=None)
    assert str(driver.request.url) == "http://from.env/x/v1/sandboxes"
    assert driver.request.headers["authorization"] == "Bearer caged_sk_env"


def test_arguments_win_over_the_environment(driver, monkeypatch):
    monkeypatch.setenv("CAGED_API_KEY", "caged_sk_env")
    monkeypatch.setenv("CAGED_BASE_URL", "http://from.env")
    driver.run(js([]), lambda c: c.sandboxes.list(), base_url="http://given")
    assert driver.request.url.host == "given"
    assert driver.request.headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("variable", [None, ""])
def test_client_without_argument_and_variable_uses_the_public_api(driver, monkeypatch, variable):
    if variable is not None:
        monkeypatch.setenv("CAGED_BASE_URL", variable)
    driver.run(js([]), lambda c: c.sandboxes.list(), base_url=None)
    assert str(driver.request.url) == "https://api.caged.dev/v1/sandboxes"


@BOTH
@each(
    "url",
    [
        "", "/", "api.caged.dev", "ftp://h", "http://", "http://[bad", "http://h:99999", "http://h:0",
        "http://h:x", "http://h?a=1", "http://h#a", "http://u:p@h", "http://a b", "http://h/\n", "file:///etc",
        "ws://h", 5, b"x",
    ],
)  # fmt: skip
def test_an_invalid_base_url_is_refused(client_class, url):
    with pytest.raises(CagedError, match="base_url"):
        client_class(KEY, url)


@BOTH
@each("timeout", [0, -1, float("nan"), float("inf"), "5", True, 1e9, (1, 2)])
def test_an_invalid_timeout_is_refused(client_class, timeout):
    with pytest.raises(CagedError, match="timeout must be"):
        client_class(KEY, "http://h", timeout)


@BOTH
@pytest.mark.parametrize("max_retries", [-1, 1.5, None, "2", True])
def test_invalid_max_retries_are_refused(client_class, max_retries):
    with pytest.raises(CagedError, match="max_retries must be"):
        client_class(KEY, "http://h", max_retries=max_retries)


@BOTH
def test_a_transport_of_the_wrong_kind_is_refused(client_class):
    with pytest.raises(CagedError, match=r"transport must be an httpx\.(Async)?BaseTransport, not int"):
        client_class(KEY, "http://h", transport=5)


@BOTH
def test_a_broken_proxy_variable_is_a_caged_error(client_class, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "nonsense://x")
    with pytest.raises(CagedError, match="proxy"):
        client_class(KEY, "http://example.com")


def test_a_closed_client_refuses_calls():
    client = Caged(KEY, "http://h", transport=OK)
    assert client.sandboxes.list() == []
    client.close()
    client.close()
    with pytest.raises(CagedError, match="closed"):
        client.sandboxes.list()
    with pytest.raises(CagedError, match="closed"):
        client.__enter__()


def test_a_closed_async_client_refuses_calls():
    async def main():
        client = AsyncCaged(KEY, "http://h", transport=OK)
        assert await client.sandboxes.list() == []
        await client.close()
        await client.aclose()
        with pytest.raises(CagedError, match="closed"):
            await client.sandboxes.list()
        with pytest.raises(CagedError, match="closed"):
            async with client:
                pass

    asyncio.run(main())


def test_repr_of_a_client_does_not_contain_the_key():
    for client in (Caged(KEY, "http://h", transport=OK), AsyncCaged(KEY, "http://h", transport=OK)):
        assert KEY not in repr(client) + repr(vars(client)) + repr(client._session.settings)


def test_resource_groups_are_made_once():
    client = Caged(KEY, "http://h", transport=OK)
    assert client.files is client.files


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("localhost", True), ("LOCALHOST", True), ("127.0.0.1", True), ("127.9.9.9", True), ("::1", True),
        ("10.0.0.1", False), ("localhost.example.com", False), ("::2", False), ("127.example.com", False),
    ],
)  # fmt: skip
def test_what_counts_as_this_machine(host, local):
    assert _http.is_loopback(host) is local


@BOTH
@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://localhost:1", "http://[::1]:1", "https://127.0.0.1:1"])
def test_proxy_variables_do_not_touch_loopback(client_class, url, monkeypatch):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://proxy.test:3128")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    assert client_class(KEY, url)._session._http._mounts == {}


@BOTH
def test_proxy_variables_work_elsewhere(client_class, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.test:3128")
    assert client_class(KEY, "http://example.com")._session._http._mounts


@BOTH
def test_plain_http_reads_no_ca_bundle(client_class, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a CA bundle was read")

    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", refuse)
    monkeypatch.setattr(ssl.SSLContext, "load_default_certs", refuse)
    client_class(KEY, "http://127.0.0.1:1")
    client_class(KEY, "http://example.com")


def test_a_client_that_is_garbage_collected_closes_its_connections():
    class Transport(httpx.MockTransport):
        closed = False

        def close(self):
            self.closed = True

    transport = Transport(js([]))
    Caged(KEY, "http://h", transport=transport).sandboxes.list()
    gc.collect()
    assert transport.closed
