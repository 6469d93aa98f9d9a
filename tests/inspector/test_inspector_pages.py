"""What the inspector's pages show, as HTML."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

EVIL = "<img src=x onerror=alert(1)>\"'&"


def _page(browser, view, path=""):
    response = browser.get(f"/_emulator/ui/{path}", params={"account": view.id})
    assert response.status_code == 200, response.text
    assert "<img src=x" not in response.text
    return response.text


def test_without_sandboxes_it_shows_how_to_create_one(browser, view):
    html = _page(browser, view)
    assert "No sandboxes" in html
    assert view.base_url in html


def test_sandboxes_are_listed_with_status_cost_and_last_command(browser, view, caged):
    first = caged.sandboxes.create(template="minimal", budget=2.0)
    second = caged.sandboxes.create(template="minimal")
    caged.sandboxes.exec(first.id, "echo one")
    caged.sandboxes.exec(first.id, f"echo '{EVIL[:20]}'")
    caged.sandboxes.pause(second.id)
    html = _page(browser, view)
    assert html.index(second.id) < html.index(first.id)
    assert '<span aria-hidden="true">●</span> running' in html
    assert '<span aria-hidden="true">◐</span> paused' in html
    assert "of $2.00" in html
    assert "echo &#x27;&lt;img" in html


def test_an_account_shows_its_own_sandboxes_only(browser, emulator, view, caged):
    sandbox = caged.sandboxes.create(template="minimal")
    with emulator.account() as other:
        assert sandbox.id not in _page(browser, other)
        response = browser.get(f"/_emulator/ui/sandboxes/{sandbox.id}", params={"account": other.id})
        assert response.status_code == 404
    assert view.id in _page(browser, view)


def test_a_sandbox_offers_what_its_state_allows(browser, view, caged):
    sandbox = caged.sandboxes.create(template="minimal")
    running = _page(browser, view, f"sandboxes/{sandbox.id}")
    assert ">Pause<" in running
    assert ">Resume<" not in running
    assert browser.call("POST", f"/v1/sandboxes/{sandbox.id}/pause", view.id).status_code == 204
    paused = _page(browser, view, f"sandboxes/{sandbox.id}")
    assert ">Resume<" in paused
    assert ">Pause<" not in paused


def test_every_button_makes_a_call_that_the_api_knows(browser, view, caged, emulator):
    sandbox = caged.sandboxes.create(template="minimal")
    caged.snapshots.wait(caged.snapshots.create(sandbox.id, name=EVIL).id)
    routes = [
        (operation.method, re.sub(r"\{\w+\}", "[^/]+", operation.path))
        for operation in emulator._runtime.platform and _all_operations()
    ]
    for tab in ("activity", "snapshots"):
        html = _page(browser, view, f"sandboxes/{sandbox.id}/{tab}")
        calls = re.findall(r'data-method="(\w+)" data-call="([^"?]+)', html)
        assert len(calls) >= 5
        for method, path in calls:
            assert any(method == known and re.fullmatch(pattern, path) for known, pattern in routes), path


def _all_operations():
    from caged.emulator.wire.all_operations import all_operations

    return all_operations()


def test_files_are_browsed_and_shown_escaped(browser, view, caged):
    sandbox = caged.sandboxes.create(template="minimal")
    name = "<img src=x onerror=alert(1)>.txt"
    caged.files.write(sandbox.id, f"/workspace/deep/{name}", f"</pre><script>alert(1)</script>{EVIL}")
    path = f"sandboxes/{sandbox.id}/files"
    assert ">deep/<" in _page(browser, view, path)
    listing = browser.get(f"/_emulator/ui/{path}", params={"account": view.id, "path": "/workspace/deep"}).text
    assert "&lt;img src=x onerror=alert(1)&gt;.txt" in listing
    shown = browser.get(f"/_emulator/ui/{path}", params={"account": view.id, "path": f"/workspace/deep/{name}"}).text
    assert "&lt;/pre&gt;&lt;script&gt;alert(1)" in shown
    for html in (listing, shown):
        assert "<img" not in html
        assert "<script>" not in html


def test_a_large_file_is_cut_with_a_note(browser, view, caged):
    sandbox = caged.sandboxes.create(template="minimal")
    caged.files.write(sandbox.id, "/workspace/large.txt", "x" * 250_000)
    html = browser.get(
        f"/_emulator/ui/sandboxes/{sandbox.id}/files", params={"account": view.id, "path": "/workspace/large.txt"}
    ).text
    assert "The first 200,000 of 250,000 characters." in html
    assert len(html) < 210_000


@pytest.mark.parametrize("path", ["/workspace/missing", "/etc/../../x", "relative", "/workspace/\x01"])
def test_a_path_that_cannot_be_shown_says_why(browser, view, caged, path):
    sandbox = caged.sandboxes.create(template="minimal")
    response = browser.get(f"/_emulator/ui/sandboxes/{sandbox.id}/files", params={"account": view.id, "path": path})
    assert response.status_code == 200
    assert 'class="nothing"' in response.text


def test_the_files_of_a_paused_sandbox_say_why_they_are_not_shown(browser, view, caged):
    sandbox = caged.sandboxes.create(template="minimal")
    caged.sandboxes.pause(sandbox.id)
    assert "paused" in _page(browser, view, f"sandboxes/{sandbox.id}/files")


def test_logs_snapshots_and_settings_are_shown(browser, view, caged):
    sandbox = caged.sandboxes.create(template="minimal", env={"NAME": "the-value"})
    caged.snapshots.wait(caged.snapshots.create(sandbox.id, name=f"before {EVIL}").id)
    assert "<td>" in _page(browser, view, f"sandboxes/{sandbox.id}/logs")
    snapshots = _page(browser, view, f"sandboxes/{sandbox.id}/snapshots")
    assert "before &lt;img" in snapshots
    assert "Yes, restore" in snapshots
    settings = _page(browser, view, f"sandboxes/{sandbox.id}/settings")
    assert "NAME (values are not shown)" in settings


def test_ports_lead_to_previews_at_a_name_of_their_own(browser, view, caged):
    sandbox = caged.sandboxes.create(template="minimal")
    assert "http.server" in _page(browser, view, f"sandboxes/{sandbox.id}/ports")
    with caged.sandboxes.stream(sandbox.id, "python3 -u -m http.server 3000") as output:
        next(iter(output))
        assert [port.port for port in caged.sandboxes.ports(sandbox.id)] == [3000]
        html = _page(browser, view, f"sandboxes/{sandbox.id}/ports")
        assert f'href="http://{sandbox.id}-3000.localhost:{browser.port}/"' in html
        assert f'href="http://{sandbox.id}-3000.localhost:{browser.port}/"' in _page(browser, view)


def test_the_clock_is_shown_and_can_be_moved(browser, view):
    view.clock.freeze("2030-01-02T03:04:05Z")
    html = _page(browser, view, "journal")
    assert "2030-01-02 03:04:05" in html
    assert "Unfreeze" in html
    assert browser.call("POST", f"/_emulator/clock/advance?account={view.id}", json={"minutes": 1}).status_code == 200
    assert "2030-01-02 03:05:05" in _page(browser, view, "journal")


def test_unknown_pages_and_accounts_are_404(browser, view, caged):
    sandbox = caged.sandboxes.create(template="minimal")
    for path in ("nothing", "sandboxes", "sandboxes/cage_none", f"sandboxes/{sandbox.id}/nothing", "static/../x"):
        assert browser.get(f"/_emulator/ui/{path}", params={"account": view.id}).status_code == 404
    for account in ("acc_none", "*", EVIL):
        response = browser.get("/_emulator/ui/", params={"account": account})
        assert response.status_code == 404
        assert "<img" not in response.text


@pytest.mark.parametrize("name", ["inspector.js", "inspector.css", "style.css", "steps.js", "details.js"])
def test_scripts_and_styles_are_served(browser, name):
    response = browser.get(f"/_emulator/ui/static/{name}")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith(("text/javascript", "text/css"))


@pytest.mark.parametrize("name", ["../application.py", "%2e%2e/layout.py", "nothing.js", "", "layout.py"])
def test_nothing_else_is_served(browser, name):
    assert browser.get(f"/_emulator/ui/static/{name}").status_code == 404


def test_200_sandboxes_are_one_page(browser, view, emulator):
    """The table is made of what the store has, without a call for each."""
    from caged.emulator.store import Sandbox

    platform = emulator._runtime.platform
    made = [
        Sandbox(f"cage_fake{number:04}", view.id, "minimal", 1, 512, 1, "full", 300, "2026-01-01T00:00:00Z")
        for number in range(200)
    ]
    for one in made:
        platform.store.sandboxes[one.id] = one
    try:
        html = _page(browser, view)
    finally:
        for one in made:
            del platform.store.sandboxes[one.id]
    assert html.count("<tr>") == 201


def test_the_inspector_is_not_imported_before_it_is_used():
    program = (
        "import sys\n"
        "from caged.emulator import Emulator\n"
        "import httpx\n"
        "with Emulator() as emulator:\n"
        "    httpx.get(emulator.base_url + '/v1/account', trust_env=False)\n"
        "    emulator.ui_link()\n"
        "    assert not [name for name in sys.modules if name.startswith(('caged.emulator.inspector', "
        "'caged.emulator.trace'))]\n"
        "    httpx.get(emulator.base_url + '/_emulator/ui/', trust_env=False)\n"
        "    assert 'caged.emulator.inspector.pages' in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr
