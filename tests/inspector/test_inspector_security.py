"""Who gets into the inspector, and what other pages and programs cannot do with it."""

from __future__ import annotations

import contextlib
import json
import re
import socket

import httpx
import pytest
from cases import each
from internals import platform_of
from leftovers import until
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from caged import Caged
from caged.emulator import EmulatorError

UI = "/_emulator/ui/"
PAGES = [UI, "/_emulator/ui/journal"]


# --- logging in


def test_a_link_logs_in_and_the_url_afterwards_has_no_token(emulator, new_browser):
    browser = new_browser(emulator)
    link = emulator.ui_link()
    assert re.fullmatch(rf"{browser.origin}/_emulator/ui/login\?token=[\w-]{{40,}}", link)
    assert emulator.admin_key not in link
    response = browser.log_in(link)
    assert (response.status_code, response.headers["location"]) == (303, UI)
    cookie = response.headers["set-cookie"]
    assert cookie.startswith("caged_inspector=")
    assert {"HttpOnly", "SameSite=strict"} <= set(cookie.split("; "))
    assert "domain" not in cookie.lower()
    assert emulator.admin_key not in cookie
    assert browser.get(UI).status_code == 200


def test_a_link_works_once(emulator, browser, new_browser):
    link = emulator.ui_link()
    assert new_browser(emulator).log_in(link).status_code == 303
    second = new_browser(emulator)
    response = second.log_in(link)
    assert response.status_code == 403
    assert "set-cookie" not in response.headers
    assert "caged-emulator ui" in response.text
    assert second.get(UI).status_code == 401


def test_a_link_expires_after_ten_minutes(own_emulator, new_browser):
    emulator = own_emulator()
    logins = platform_of(emulator).inspector_logins
    now = logins.now()
    logins.now = lambda: now
    early, late = emulator.ui_link(), emulator.ui_link()
    logins.now = lambda: now + 599
    assert new_browser(emulator).log_in(early).status_code == 303
    logins.now = lambda: now + 600
    assert new_browser(emulator).log_in(late).status_code == 403


def test_a_session_expires(own_emulator, new_browser):
    emulator = own_emulator()
    logins = platform_of(emulator).inspector_logins
    browser = new_browser(emulator)
    browser.log_in(emulator.ui_link())
    now = logins.now()
    logins.now = lambda: now + 13 * 3600
    assert browser.get(UI).status_code == 401


def test_unused_tokens_are_bounded(own_emulator, new_browser):
    emulator = own_emulator()
    links = [emulator.ui_link() for _ in range(101)]
    assert new_browser(emulator).log_in(links[0]).status_code == 403
    assert new_browser(emulator).log_in(links[1]).status_code == 303


@pytest.mark.parametrize("query", ["", "?token=", "?token=wrong", "?token=%00", "?other=1"])
def test_a_wrong_token_is_refused(emulator, new_browser, query):
    assert new_browser(emulator).get(f"/_emulator/ui/login{query}").status_code == 403


def test_the_admin_key_and_api_keys_are_neither_tokens_nor_cookies(emulator, new_browser):
    for secret in (emulator.admin_key, emulator.api_key):
        browser = new_browser(emulator)
        assert browser.get(f"/_emulator/ui/login?token={secret}").status_code == 403
        browser.cookies.set("caged_inspector", secret)
        assert browser.get(UI).status_code == 401
        browser.headers["Authorization"] = f"Bearer {secret}"
        browser.cookies.clear()
        assert browser.call("GET", "/_emulator/clock").status_code == 401


def test_logging_out_ends_the_session(emulator, new_browser):
    browser = new_browser(emulator)
    browser.log_in(emulator.ui_link())
    cookies = dict(browser.cookies)
    assert browser.get("/_emulator/ui/logout").status_code == 405
    assert browser.call("POST", "/_emulator/ui/logout").status_code == 204
    assert browser.get(UI, headers={"Cookie": "; ".join(map("=".join, cookies.items()))}).status_code == 401


STREAM = "/_emulator/journal/steps/stream"


def test_logging_out_ends_streams_and_terminals_of_the_session_and_of_no_other(emulator, new_browser, view, caged):
    box, (browser, other) = caged.sandboxes.create(), (new_browser(emulator), new_browser(emulator))
    for one in (browser, other):
        one.log_in(emulator.ui_link())
    account, path = {"account": view.id}, f"/v1/sandboxes/{box.id}/mcp?account={view.id}"
    with contextlib.ExitStack() as opened:
        streams = [opened.enter_context(one.stream("GET", STREAM, params=account)) for one in (browser, other)]
        texts = [stream.iter_text() for stream in streams]
        assert all(next(text) for text in texts)
        sockets = [opened.enter_context(_handshake(one, _cookies(one), one.origin, path)) for one in (browser, other)]
        assert browser.call("POST", "/_emulator/ui/logout").status_code == 204
        with pytest.raises(httpx.TransportError):
            "".join(texts[0])
        with pytest.raises(ConnectionClosed):
            sockets[0].recv(timeout=60)
        caged.sandboxes.get(box.id)
        text = ""
        while f"GET /v1/sandboxes/{box.id}" not in text:
            text += next(texts[1])
        sockets[1].send(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "ping"}))
        assert json.loads(sockets[1].recv(timeout=60))["id"] == 1
    assert "Traceback" not in "".join(emulator.log_tail())


def test_a_stream_ends_with_the_time_of_its_session(own_emulator, new_browser):
    emulator = own_emulator()
    browser, logins = new_browser(emulator), platform_of(emulator).inspector_logins
    browser.log_in(emulator.ui_link())
    later = logins.now() + 12 * 3600 - 1
    logins.now = lambda: later
    with emulator.account() as view, browser.stream("GET", STREAM, params={"account": view.id}) as stream:
        with pytest.raises(httpx.TransportError):
            stream.read()
    until(lambda: not logins._calls)  # the emulator forgets the stream when it has ended


def test_a_cookie_of_another_emulator_is_not_valid(emulator, browser, own_emulator, new_browser):
    other = new_browser(own_emulator())
    for name, value in browser.cookies.items():
        other.cookies.set(name, value)
    assert other.host != browser.host
    assert other.get(UI).status_code == 401
    assert other.call("POST", "/_emulator/clock/tick").status_code == 401


def test_there_is_no_link_where_loopback_is_not_served(own_emulator):
    emulator = own_emulator()
    platform_of(emulator).inspector_logins._listens_on = "192.168.7.7"
    with pytest.raises(EmulatorError, match=r"listens on 192\.168\.7\.7; start it with --host"):
        emulator.ui_link()


# --- foreign pages


def test_a_call_with_the_cookie_works_from_a_page(browser, view):
    response = browser.call("POST", f"/_emulator/clock/freeze?account={view.id}", json={})
    assert response.status_code == 200
    assert view.clock.now() is not None
    assert browser.call("GET", "/v1/sandboxes", view.id).json() == []


@each("path", ["/_emulator/clock/tick", "/v1/sandboxes", "/_emulator/reset", "/_emulator/ui/logout"])
@each(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:3000"},
        {"Origin": "http://inspector.localhost:4747"},
        {"Origin": "http://cage_ab12cd34-3000.localhost"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Dest": "document"},
        {"Sec-Fetch-Dest": "script"},
        {"X-Caged-Inspector": ""},
        {"X-Caged-Inspector": "0"},
    ],
)
def test_a_foreign_page_cannot_post(browser, path, headers):
    response = browser.call("POST", path, json={}, headers=headers)
    assert response.status_code == 403
    assert "access-control-allow-origin" not in response.headers


def test_a_form_cannot_post(browser):
    """A form of a foreign page sends no header of its own."""
    response = browser.post("/_emulator/reset", headers={"Content-Type": "text/plain"}, content="{}")
    assert response.status_code == 403


def test_a_preflight_is_not_answered(browser):
    response = browser.request(
        "OPTIONS",
        "/_emulator/reset",
        headers={"Origin": "https://evil.example", "Access-Control-Request-Headers": "x-caged-inspector"},
    )
    assert response.status_code == 403
    assert not [name for name in response.headers if name.startswith("access-control")]


@pytest.mark.parametrize("origin", ["https://evil.example", "http://localhost:3000"])
def test_a_foreign_page_cannot_read(browser, origin):
    for headers in ({"Origin": origin}, {"Sec-Fetch-Site": "cross-site"}):
        response = browser.call("GET", "/_emulator/journal/steps", headers=headers)
        assert response.status_code == 403


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:4747", "inspector-0123456789abcdef0123.localhost.evil.example"]
)
def test_dns_rebinding_reaches_nothing(browser, host):
    for path in PAGES:
        response = browser.get(path, headers={"Host": host})
        assert response.status_code == 403
        assert "--allow-host" in response.text


OTHER_HOSTS = ["127.0.0.1", "localhost", "inspector.localhost", "cage_ab12cd34.localhost", "192.168.1.5"]


@pytest.mark.parametrize("host", OTHER_HOSTS)
def test_the_cookie_is_not_valid_at_another_host_name(browser, host):
    """A preview has such an address, and its pages belong to a sandbox."""
    headers = {"Host": f"{host}:{browser.port}"}
    for path in PAGES:
        assert browser.get(path, headers=headers).status_code == 401
    headers["Origin"] = f"http://{host}:{browser.port}"
    assert browser.call("POST", "/_emulator/clock/tick", headers=headers).status_code in (401, 403)


@pytest.mark.parametrize("host", OTHER_HOSTS)
def test_no_other_address_names_the_host_of_the_inspector(emulator, new_browser, host):
    """A program in a sandbox may listen on another port of this machine. Cookies do not differ by port: where it knew
    the name, it could send the browser there and would get the session."""
    browser = new_browser(emulator)
    name = browser.host.partition(".")[0]
    headers = {"Host": f"{host}:{browser.port}"}
    for path in (
        "/",
        *PAGES,
        f"{UI}login?token=x",
        f"{UI}static/inspector.js",
        "/_emulator/clock",
        "/v1/sandboxes",
        "/x",
    ):
        response = browser.get(path, headers=headers)
        assert name not in response.text + str(response.headers)
    response = browser.get("/", headers={"Host": f"evil.example:{browser.port}"})
    assert response.status_code == 403
    assert name not in response.text


def test_nothing_of_a_sandbox_is_served_at_the_inspectors_name(caged, browser):
    sandbox = caged.sandboxes.create(template="minimal")
    for path in (f"/_preview/{sandbox.id}/3000/", "/healthz", "/anything"):
        response = browser.get(path)
        assert response.status_code == 404
        assert "content-security-policy" in response.headers


@pytest.mark.parametrize(
    ("path", "part"),
    [
        *[(path, "script-src 'self'") for path in (*PAGES, "/_emulator/ui/login", "/_emulator/ui/static/inspector.js")],
        ("/_emulator/clock", "sandbox"),
        ("/v1/sandboxes", "sandbox"),
    ],
)
def test_every_response_forbids_frames_and_foreign_scripts(browser, path, part):
    """An answer of the API, which may be a file of a sandbox, may run nothing at all."""
    headers = browser.get(path).headers
    policy = headers["content-security-policy"]
    assert part in policy
    for always in ("default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'"):
        assert always in policy
    assert "unsafe" not in policy
    assert headers["x-frame-options"] == "DENY"
    assert headers["x-content-type-options"] == "nosniff"
    is_static = "/static/" in path
    assert headers["cache-control"] == ("private, max-age=3600" if is_static else "no-store")
    assert headers["referrer-policy"] == "no-referrer"


def test_only_scripts_and_styles_at_the_inspectors_own_name_are_stored(browser):
    """Another emulator, of another version, may be at the same address tomorrow, but never at this name."""
    path = "/_emulator/ui/static/inspector.js"
    assert browser.get(path).headers["cache-control"] == "private, max-age=3600"
    others = {"Host": f"127.0.0.1:{browser.port}"}
    assert browser.get(path, headers=others).headers["cache-control"] == "no-store"
    missing = browser.get("/_emulator/ui/static/none.js")
    assert (missing.status_code, missing.headers["cache-control"]) == (404, "no-store")


def test_pages_have_no_inline_script_style_or_handler(browser, view, caged):
    sandbox = caged.sandboxes.create(template="minimal")
    for path in [*PAGES, f"/_emulator/ui/sandboxes/{sandbox.id}", "/_emulator/ui/login"]:
        html = browser.get(f"{path}?account={view.id}").text
        assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:|<script(?![^>]* src=)", html)


# --- keys


def test_no_key_is_in_a_page(emulator, browser, view, caged):
    sandbox = caged.sandboxes.create(template="minimal", env={"TOKEN": "a-planted-secret"})
    for path in [*PAGES, f"/_emulator/ui/sandboxes/{sandbox.id}", f"/_emulator/ui/sandboxes/{sandbox.id}/activity"]:
        response = browser.get(f"{path}?account={view.id}")
        assert response.status_code == 200
        for secret in (emulator.admin_key, emulator.api_key, view.api_key, "a-planted-secret"):
            assert secret not in response.text
            assert secret not in str(response.headers)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/_emulator/accounts"),
        ("GET", "/_emulator/%61ccounts"),
        ("POST", "/_emulator/accounts"),
        ("GET", "/_emulator/accounts/acc_1"),
        ("GET", "/_emulator/export"),
        ("POST", "/_emulator/inspector/links"),
        ("POST", "/_emulator/scenario"),
        ("POST", "/v1/account/keys"),
        ("POST", "/v1/auth/socket-ticket"),
    ],
)
def test_a_session_gets_no_key_from_the_api(browser, method, path):
    response = browser.call(method, path, json={} if method == "POST" else None)
    assert response.status_code == 403
    assert "key" in response.json()["detail"]


def test_a_program_in_a_sandbox_gets_no_session(emulator, own_emulator):
    """With process isolation it reaches the emulator, as any program of this machine does."""
    running = own_emulator(isolation="process", allow_unused=True)
    with Caged(api_key=running.api_key, base_url=running.base_url) as caged:
        sandbox = caged.sandboxes.create(template="minimal")
        port = running.base_url.rpartition(":")[2]
        program = (
            "import urllib.request, urllib.error\n"
            "for path in ('/_emulator/ui/', '/_emulator/ui/login?token=', '/_emulator/clock'):\n"
            f"    request = urllib.request.Request('{running.base_url}' + path,"
            f" headers={{'Host': '{running._runtime.platform.inspector_logins.host}:{port}'}})\n"
            "    try:\n"
            "        print(urllib.request.urlopen(request, timeout=60).status)\n"
            "    except urllib.error.HTTPError as error:\n"
            "        print(error.code, 'Set-Cookie' in error.headers)\n"
        )
        caged.files.write(sandbox.id, "/workspace/look.py", program)
        result = caged.sandboxes.exec(sandbox.id, "python3 look.py")
    assert result.output.split() == ["401", "False", "403", "False", "401", "False"]


# --- WebSockets


def _cookies(browser):
    return "; ".join(f"{name}={value}" for name, value in browser.cookies.items())


def _handshake(browser, cookies, origin, path):
    headers = {"Cookie": cookies, **({"Origin": origin} if origin else {})}
    return connect(
        f"ws://{browser.host}:{browser.port}{path}",
        sock=socket.create_connection(("127.0.0.1", browser.port), timeout=60),
        additional_headers=headers,
        subprotocols=["mcp"],
        proxy=None,
    )


def test_a_page_opens_a_websocket_of_its_account(browser, view, caged):
    sandbox = caged.sandboxes.create(template="minimal")
    path = f"/v1/sandboxes/{sandbox.id}/mcp"
    cookies = _cookies(browser)
    with _handshake(browser, cookies, browser.origin, f"{path}?account={view.id}") as opened:
        opened.send(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "ping"}))
        assert json.loads(opened.recv(timeout=60))["id"] == 1
    assert view.api_key not in str(view.journal.steps())
    for given, origin, address, status in [
        (cookies, browser.origin, path, 404),  # of another account
        ("", browser.origin, f"{path}?account={view.id}", 401),
        (cookies, None, f"{path}?account={view.id}", 403),
        (cookies, f"http://{sandbox.id}-3000.localhost:{browser.port}", f"{path}?account={view.id}", 403),
        (cookies, browser.origin, "/_emulator/clock", 404),
    ]:
        with pytest.raises(InvalidStatus) as caught:
            _handshake(browser, given, origin, address)
        assert caught.value.response.status_code == status


def test_a_preview_does_not_get_the_session(browser, emulator):
    """Also if a visitor sends the cookie to the address of a preview."""
    from caged.emulator.wire.preview_credentials import CredentialFilter

    (value,) = browser.cookies.values()
    scope = {"headers": [(b"cookie", f"theme=dark; x={value}".encode())], "query_string": b""}
    filtered = CredentialFilter(platform_of(emulator)).filter(scope)
    assert filtered["headers"] == [(b"cookie", b"theme=dark")]


# --- the way there


def test_the_root_leads_browsers_to_how_to_log_in(emulator, new_browser):
    browser = new_browser(emulator)
    host = {"Host": f"127.0.0.1:{browser.port}"}
    response = browser.get("/", headers={**host, "Accept": "text/html,*/*;q=0.8"})
    assert (response.status_code, response.headers["location"]) == (303, UI)
    assert "caged-emulator ui" in browser.get(UI, headers=host).text
    assert browser.get("/", headers={**host, "Accept": "*/*"}).status_code == 404
    assert browser.get("/").headers["location"] == UI


def test_a_token_is_not_accepted_at_another_address(emulator, new_browser):
    """There a preview could have a service worker, which sees the requests of that address."""
    browser = new_browser(emulator)
    link = emulator.ui_link()
    response = httpx.get(link.replace(browser.host, "127.0.0.1"), trust_env=False)
    assert response.status_code == 401
    assert "set-cookie" not in response.headers
    assert browser.log_in(link).status_code == 303


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_link_elsewhere_leads_to_the_page_by_a_second_request(emulator, new_browser, site):
    """A browser does not send the cookie when the person comes from another site, and does from this page."""
    response = new_browser(emulator).get(f"{UI}journal?account=a%22b", headers={"Sec-Fetch-Site": site})
    assert response.status_code == 200
    assert 'content="0; url=/_emulator/ui/journal?account=a%22b"' in response.text


def test_a_page_without_a_login_says_how_to_log_in(emulator, new_browser):
    for path in PAGES:
        response = new_browser(emulator).get(path)
        assert response.status_code == 401
        assert "caged-emulator ui" in response.text
