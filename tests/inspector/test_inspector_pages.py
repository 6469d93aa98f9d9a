"""What the inspector's pages show, as HTML."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from internals import platform_of

from caged.emulator.inspector.page import Page
from caged.emulator.inspector.pages import PAGES
from caged.emulator.inspector.pages.sandbox import TABS
from caged.emulator.wire.all_operations import all_operations

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
    with emulator.account(name=EVIL) as other:
        assert sandbox.id not in _page(browser, other)
        response = browser.get(f"/_emulator/ui/sandboxes/{sandbox.id}", params={"account": other.id})
        assert response.status_code == 404
        assert "&lt;img src=x onerror" in _page(browser, view)
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
    assert browser.call("DELETE", f"/v1/sandboxes/{sandbox.id}", view.id).status_code == 204
    destroyed = _page(browser, view, f"sandboxes/{sandbox.id}")
    assert "</span> destroyed</span>" in destroyed
    assert 'data-call="/v1/' not in destroyed
    assert sandbox.id not in _page(browser, view)


def test_every_button_makes_a_call_that_the_api_knows(browser, view, caged):
    sandbox = caged.sandboxes.create(template="minimal")
    caged.sandboxes.pause(sandbox.id)
    routes = [(one.method, re.compile(re.sub(r"\{\w+\}", "[^/]+", one.path))) for one in all_operations()]
    for path, least in (("", 5), ("journal", 5), (f"sandboxes/{sandbox.id}", 8)):
        calls = re.findall(r'data-method="(\w+)" data-call="([^"?]+)', _page(browser, view, path))
        assert len(calls) >= least
        for method, called in calls:
            assert any(method == known and pattern.fullmatch(called) for known, pattern in routes), called


def test_ports_lead_to_previews_at_a_name_of_their_own(browser, view, caged):
    sandbox = caged.sandboxes.create(template="minimal", network_mode="none")
    with caged.sandboxes.stream(sandbox.id, "python3 -u -m http.server 3000") as output:
        next(iter(output))
        assert [port.port for port in caged.sandboxes.ports(sandbox.id)] == [3000]
        assert f'href="http://{sandbox.id}-3000.localhost:{browser.port}/"' in _page(browser, view)


def test_the_clock_is_shown_and_can_be_moved(browser, view):
    view.clock.freeze("2030-01-02T03:04:05Z")
    html = _page(browser, view, "journal")
    assert "2030-01-02 03:04:05" in html
    assert ">Unfreeze<" in html
    assert browser.call("POST", f"/_emulator/clock/advance?account={view.id}", json={"minutes": 1}).status_code == 200
    assert "2030-01-02 03:05:05" in _page(browser, view, "journal")


def test_reading_a_page_leaves_no_trace(browser, view, caged):
    sandbox = caged.sandboxes.create(template="minimal")
    fault = view.faults.add("sandboxes.*", status=503, times=1, optional=True)
    before = view.journal.steps()
    for path in ("", "journal", *(f"sandboxes/{sandbox.id}/{tab.path}" for tab in TABS)):
        _page(browser, view, path)
    assert view.journal.steps() == before
    assert [one.triggered for one in view.faults.list() if one.id == fault.id] == [0]


def test_the_navigation_has_the_sections_that_exist(browser, view):
    html = _page(browser, view, "journal")
    links = re.findall(r"<a href=\"/_emulator/ui/([^\"?]*)[^\"]*\"[^>]*>(\w+)</a>", html)
    assert links == [(page.path, page.title) for page in PAGES if page.is_section]
    assert re.search(r'<a href="/_emulator/ui/journal[^>]*aria-current="page"', html)


@pytest.mark.parametrize(
    ("path", "given", "parameters"),
    [
        ("", "", {}),
        ("", "x", None),
        ("journal", "journal", {}),
        ("a/{id}", "a/b%2F", {"id": "b%2F"}),
        ("a/{id}", "a", None),
        ("a/{id}/c", "a/b/d", None),
    ],
)
def test_a_path_selects_a_page(path, given, parameters):
    assert Page(path, "", "", None).match(given.split("/")) == parameters


def test_unknown_pages_and_accounts_are_404(browser, view, caged):
    sandbox = caged.sandboxes.create(template="minimal")
    for path in ("nothing", "sandboxes", "sandboxes/cage_none", f"sandboxes/{sandbox.id}/nothing", "static/../x"):
        assert browser.get(f"/_emulator/ui/{path}", params={"account": view.id}).status_code == 404
    for wrong in ("*", "cage_*", f"{EVIL}", "%2e%2e", "a%2Fb"):
        response = browser.get(f"/_emulator/ui/sandboxes/{wrong}", params={"account": view.id})
        assert response.status_code == 404
        assert "<img" not in response.text
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
    from caged.emulator.store import Sandbox

    platform = platform_of(emulator)
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


def test_no_module_of_the_inspector_has_the_name_of_one_of_the_trace():
    """They are served from one folder, so that the inspector's import those of the trace."""
    from caged.emulator.inspector.assets import STATIC, TRACE_STATIC

    names = [path.name for folder in (STATIC, TRACE_STATIC) for path in folder.iterdir()]
    assert len(names) == len(set(names))


def test_the_inspector_is_not_imported_before_it_is_used():
    program = (
        "import sys\n"
        "from caged.emulator import Emulator\n"
        "import httpx\n"
        "with Emulator() as emulator:\n"
        "    httpx.get(emulator.base_url + '/v1/account', trust_env=False)\n"
        "    emulator.ui_link()\n"
        "    assert not [name for name in sys.modules if name.startswith('caged.emulator.inspector')]\n"
        "    httpx.get(emulator.base_url + '/_emulator/ui/', trust_env=False)\n"
        "    assert 'caged.emulator.inspector.pages' in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr


def test_value_of_an_environment_is_on_no_page(browser, view, caged):
    box = caged.sandboxes.create(agents=["claude"], env={"PLAIN": "planted-in-env-0123"}, init_script="echo $PLAIN").id
    caged.sandboxes.exec(box, "claude -p planted-in-env-0123; exit 3")
    session = caged.sessions.list().data[0].id
    caged.sandboxes.exec(box, "true planted-in-env-0123")
    names = [
        "",
        "journal",
        "agents",
        *(f"sandboxes/{box}/{tab}" for tab in ("activity", "logs", "sessions", "settings")),
    ]
    for name in [*names, f"sandboxes/{box}/sessions?session={session}"]:
        page = _page(browser, view, name)
        assert "planted" not in page, (name, page[max(0, page.index("planted") - 300) :][:500])
    assert "true ***" in _page(browser, view)
