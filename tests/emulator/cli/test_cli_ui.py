"""`caged-emulator ui`, the link that `serve` prints, and `Emulator(ui=True)`."""

from __future__ import annotations

import re
import webbrowser

import cli_testing
import httpx
import pytest

from caged.emulator import Emulator, RemoteEmulator
from caged.emulator.browser import open_in_browser

LINK = r"http://inspector-[0-9a-f]{20}\.localhost:%s/_emulator/ui/login\?token=[\w-]{40,}"


def _logs_in(link: str) -> bool:
    """Whether a link logs in, opened without a resolver for `*.localhost`."""
    host, _, path = link[len("http://") :].partition("/")
    port = host.rpartition(":")[2]
    response = httpx.get(f"http://127.0.0.1:{port}/{path}", headers={"Host": host}, trust_env=False, timeout=60)
    return response.status_code == 303 and "set-cookie" in response.headers


@pytest.fixture
def opened(monkeypatch):
    """The URLs that a browser would have opened."""
    urls: list[str] = []
    monkeypatch.setenv("BROWSER", "none")
    monkeypatch.setattr(webbrowser, "open", lambda url, new=0: urls.append(url) or True)
    return urls


def test_serve_prints_a_link_and_ui_makes_another(serve, opened):
    served = serve()
    exports = served.exports()
    port = exports["CAGED_BASE_URL"].rpartition(":")[2]
    target = ["--url", exports["CAGED_EMULATOR_URL"], "--admin-key", exports["CAGED_EMULATOR_ADMIN_KEY"]]
    printed = cli_testing.call("ui", "--print", *target)
    assert printed.returncode == 0, printed.stderr
    assert opened == []
    link = printed.stdout.strip()
    assert re.fullmatch(LINK % port, link)
    assert _logs_in(link)
    assert not _logs_in(link)
    again = cli_testing.call("ui", *target)
    assert opened == [again.stdout.strip()]
    assert _logs_in(opened[0])


def test_ui_says_when_no_browser_is_there(monkeypatch):
    for name in ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr(webbrowser, "open", lambda *_given, **_options: pytest.fail("it must not be tried"))
    assert open_in_browser("http://127.0.0.1/") is False


def test_an_emulator_with_ui_opens_it_and_writes_the_link(opened, capsys):
    with Emulator(ui=True) as emulator:
        port = emulator.base_url.rpartition(":")[2]
        (link,) = opened
        assert re.fullmatch(LINK % port, link)
        assert capsys.readouterr().err == f"Inspector: {link}\n"
        with RemoteEmulator(emulator.base_url, emulator.admin_key) as remote:
            assert remote.ui_link() not in (link, emulator.ui_link())
    with Emulator():
        assert len(opened) == 1
