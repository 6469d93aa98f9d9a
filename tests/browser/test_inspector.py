"""The inspector in a real browser: logging in, what appears by itself, buttons, and what other pages cannot do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Callable
from urllib.parse import urlsplit

import pytest
from accessibility import violations_in_both_schemes
from inspector_testing import EVIL, UI, origin, show

from caged import Caged
from caged.emulator import AccountView, Emulator

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page


@pytest.fixture
def new_context(browser: Browser, problems: list[str]) -> Iterator[Callable[..., BrowserContext]]:
    """Makes windows that share nothing."""
    made = []

    def make(**options: Any) -> BrowserContext:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
        made.append(context)
        context.set_default_timeout(60_000)
        context.on("console", lambda message: problems.append(f"console: {message.text}"))
        context.on("weberror", lambda error: problems.append(f"exception: {error.error}"))
        context.on("dialog", lambda dialog: (problems.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        return context

    yield make
    for context in made:
        context.close()
    assert problems == []


@pytest.fixture
def open_inspector(page: Page, emulator: Emulator, view: AccountView) -> Callable[..., Page]:
    """Shows a page of the inspector for the test's account."""

    def open_page(path: str = "") -> Page:
        show(page, emulator, path, view.id)
        return page

    return open_page


def check_accessible(page: Page) -> None:
    """Check a page by axe-core, in light and dark, and that it fits windows of two widths."""
    for width in (800, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert violations_in_both_schemes(page) == []


def rows(page: Page) -> list[str]:
    return page.locator("[role=treeitem] .title").all_inner_texts()


def test_a_link_logs_in_once_and_leads_to_the_sandboxes(
    emulator: Emulator, new_context: Callable[..., BrowserContext], problems: list[str]
) -> None:
    page = new_context().new_page()
    link = emulator.ui_link()
    page.goto(link)
    assert page.url == f"{origin(emulator)}{UI}"
    assert page.get_by_role("heading", name="Sandboxes").is_visible()
    assert page.evaluate("document.cookie") == ""
    page.get_by_role("button", name="Log out").click()
    page.get_by_role("heading", name="Log in").wait_for()
    other = new_context().new_page()
    other.goto(f"{emulator.base_url}/")
    assert "caged-emulator ui" in other.inner_text("main")
    other.goto(link)
    assert "used already" in other.inner_text("main")
    assert "caged-emulator ui" in other.inner_text("main")
    assert [text for text in problems if "Failed to load resource" not in text] == []
    problems.clear()


def test_sandboxes_appear_change_and_go_by_themselves(
    open_inspector: Callable[..., Page], view: AccountView, caged: Caged
) -> None:
    page = open_inspector()
    assert "No sandboxes yet" in page.inner_text("main")
    sandbox = caged.sandboxes.create(template="minimal", budget=2.0)
    row = page.locator("tr", has_text=sandbox.id)
    row.get_by_text("● running").wait_for()
    caged.sandboxes.exec(sandbox.id, f"echo '{EVIL[:28]}'")
    row.get_by_text("<img src=x onerror").wait_for()
    view.spend(sandbox.id, 1.5)
    row.get_by_text("$1.50 of $2.00").wait_for()
    caged.sandboxes.pause(sandbox.id)
    row.get_by_text("◐ paused").wait_for()
    check_accessible(page)
    caged.sandboxes.destroy(sandbox.id)
    page.get_by_text("No sandboxes yet").wait_for()
    assert page.locator("img").count() == 0


def test_the_journal_is_live_and_waits_for_a_reader(
    open_inspector: Callable[..., Page], view: AccountView, caged: Caged
) -> None:
    sandbox = caged.sandboxes.create(template="minimal")
    caged.sandboxes.exec(sandbox.id, "false")
    page = open_inspector("journal")
    page.get_by_text("sandbox is ready").wait_for()
    caged.sandboxes.exec(sandbox.id, f"echo '{EVIL[:28]}'")
    command = page.locator("[role=treeitem] .title", has_text="echo '<img").first
    command.click()
    page.get_by_role("tabpanel").get_by_text("<img src=x onerror=alert(1)>").first.wait_for()
    check_accessible(page)
    for _ in range(40):
        view.clock.tick()
    page.locator("[role=treeitem]").nth(len(view.journal.steps()) - 1).wait_for(state="attached")
    assert page.locator("[role=tree]").evaluate("tree => tree.scrollTop") > 100
    page.locator("[role=tree]").evaluate("tree => { tree.scrollTop = 0; }")
    count = page.locator("[role=treeitem]").count()
    caged.sandboxes.exec(sandbox.id, "echo behind the end")
    pill = page.get_by_role("button", name="new step")
    pill.wait_for()
    assert page.locator("[role=treeitem]").count() == count
    assert page.locator("[role=tree]").evaluate("tree => tree.scrollTop") == 0
    pill.click()
    page.get_by_text("echo behind the end").first.wait_for()
    assert not pill.is_visible()
    page.keyboard.press("/")
    page.keyboard.type("behind")
    assert page.locator("[role=treeitem]").count() < 4
    assert any("echo behind the end" in row for row in rows(page))


def test_the_journal_goes_on_after_a_lost_connection(
    open_inspector: Callable[..., Page], caged: Caged, view: AccountView, problems: list[str]
) -> None:
    page = open_inspector("journal")
    caged.account.get()
    page.locator("[role=treeitem]").first.wait_for()
    requested: list[str] = []
    page.on("request", lambda request: "stream" in request.url and requested.append(request.url))
    page.evaluate("""() => {
        Object.defineProperty(document, "hidden", { value: true, configurable: true });
        document.dispatchEvent(new Event("visibilitychange"));
    }""")
    page.get_by_text("paused while hidden").wait_for()
    view.clock.freeze()
    page.evaluate("""() => {
        delete document.hidden;
        document.dispatchEvent(new Event("visibilitychange"));
    }""")
    page.get_by_text("clock freeze").or_(page.get_by_text("clock.freeze")).first.wait_for()
    titles = rows(page)
    assert len(titles) == len(view.journal.steps())
    assert "after=" in requested[0]


def test_a_sandbox_is_paused_and_destroyed_from_its_page(
    open_inspector: Callable[..., Page], view: AccountView, caged: Caged, problems: list[str]
) -> None:
    sandbox = caged.sandboxes.create(template="minimal", budget=2.0)
    caged.sandboxes.exec(sandbox.id, "false")
    page = open_inspector(f"sandboxes/{sandbox.id}")
    page.get_by_role("button", name="Pause").click()
    page.locator("#sandbox").get_by_text("◐ paused").wait_for()
    check_accessible(page)
    assert caged.sandboxes.get(sandbox.id).status == "paused"
    page.get_by_role("button", name="Resume").click()
    page.locator("#sandbox").get_by_text("● running").wait_for()
    page.get_by_role("button", name="Snapshot").click()
    page.get_by_text("was requested").wait_for()
    assert any(one.id in page.inner_text("#message") for one in caged.snapshots.list(sandbox.id))
    view.faults.add("sandboxes.pause", status=503, detail=EVIL, times=1)
    page.get_by_role("button", name="Pause").click()
    page.get_by_text("503: <img").wait_for()
    assert ["503" in text for text in problems] == [True]
    problems.clear()
    destroy = page.locator("summary", has_text="Destroy")
    destroy.click()
    page.keyboard.press("Escape")
    assert not page.get_by_role("button", name="Yes, destroy it").is_visible()
    destroy.click()
    page.get_by_role("button", name="Yes, destroy it").click()
    page.get_by_text("No sandboxes yet").wait_for()
    assert caged.sandboxes.list() == []
    page.go_back()
    page.locator("#sandbox").get_by_text("○ destroyed").wait_for()


def test_the_clock_is_stepped(open_inspector: Callable[..., Page], view: AccountView) -> None:
    view.clock.freeze("2030-01-02T03:04:05Z")
    page = open_inspector()
    clock = page.get_by_role("group", name="Clock")
    clock.get_by_text("2030-01-02 03:04:05").first.wait_for()
    clock.locator("summary", has_text="Step").first.click()
    clock.get_by_role("button", name="1 hour").click()
    clock.get_by_text("2030-01-02 04:04:05").wait_for()
    clock.get_by_role("button", name="1 day").click()
    clock.get_by_text("2030-01-03 04:04:05").wait_for()
    page.keyboard.press("Escape")
    clock.get_by_role("button", name="Unfreeze").click()
    clock.get_by_role("button", name="Freeze", exact=True).wait_for()


ECHO = """
from http.server import BaseHTTPRequestHandler, HTTPServer

class Echo(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(str(self.headers).encode())

server = HTTPServer(("127.0.0.1", 3000), Echo)
print("listens", flush=True)
server.serve_forever()
"""


def test_a_link_to_a_preview_does_not_name_the_inspector(
    emulator: Emulator, open_inspector: Callable[..., Page], caged: Caged, problems: list[str]
) -> None:
    """Who knows its host name could listen there at another port, and get the cookie."""
    sandbox = caged.sandboxes.create(template="minimal", network_mode="none")
    caged.files.write(sandbox.id, "/workspace/echo.py", ECHO)
    page = open_inspector()
    with caged.sandboxes.stream(sandbox.id, "python3 echo.py") as output:
        next(iter(output))
        assert [one.port for one in caged.sandboxes.ports(sandbox.id)] == [3000]
        with page.context.expect_page() as opened:
            page.get_by_role("link", name="3000").click()
        preview = opened.value
        preview.wait_for_load_state()
        assert "user-agent" in preview.inner_text("body").lower()
        assert urlsplit(origin(emulator)).hostname not in preview.content()
        assert preview.evaluate("[document.referrer, opener, document.cookie]") == ["", None, ""]
    problems.clear()  # the preview has no favicon


def test_a_preview_in_the_same_browser_cannot_use_the_session(
    emulator: Emulator,
    view: AccountView,
    caged: Caged,
    new_context: Callable[..., BrowserContext],
    problems: list[str],
) -> None:
    """A hostile page that a sandbox serves, at both addresses of its preview: it cannot read, post, frame or open."""
    context = new_context()
    page = context.new_page()
    page.goto(emulator.ui_link())
    sandbox = caged.sandboxes.create(template="minimal", network_mode="none")
    caged.files.write(sandbox.id, "/workspace/index.html", "<!doctype html><title>hostile</title>")
    caged.files.write(sandbox.id, "/workspace/worker.js", "self.addEventListener('fetch', () => {});")
    port = urlsplit(emulator.base_url).port
    with caged.sandboxes.stream(sandbox.id, "python3 -u -m http.server 3000") as output:
        next(iter(output))
        assert [one.port for one in caged.sandboxes.ports(sandbox.id)] == [3000]
        for address, worker in (
            (f"{emulator.base_url}/_preview/{sandbox.id}/3000/", "SecurityError"),
            (f"http://{sandbox.id}-3000.localhost:{port}/", "registered"),  # for its own address alone
        ):
            page.goto(address)
            assert page.title() == "hostile"
            seen = page.evaluate(HOSTILE, origin(emulator))
            assert seen == {
                "read": "TypeError",
                "sent": "TypeError",
                "framed": "no document",
                "opened": "severed",
                "worker": worker,
                "script": "error",
                "cookie": "",
            }
    assert not [step for step in emulator.journal.steps() if "clock" in step.title]
    problems.clear()
    page.goto(f"{origin(emulator)}{UI}")
    assert page.get_by_role("heading", name="Sandboxes").is_visible()


HOSTILE = """async (origin) => {
    const tried = async (run) => { try { return await run(); } catch (error) { return error.name; } };
    const options = { credentials: "include", headers: { "X-Caged-Inspector": "1" } };
    const call = (path, more) => tried(async () => (await fetch(origin + path, { ...options, ...more })).status);
    const loaded = (element, url) => new Promise((resolve) => {
        element.onload = () => resolve("loaded");
        element.onerror = () => resolve("error");
        element.src = url;
        document.head.append(element);
    });
    const frame = document.createElement("iframe");
    const framed = new Promise((resolve) => { frame.onload = resolve; });
    frame.src = origin + "/_emulator/ui/";
    document.body.append(frame);
    await framed;
    const inside = (view) => { try { return view.document.title; } catch { return "no document"; } };
    const other = open(origin + "/_emulator/ui/");
    const severed = async () => {
        for (let i = 0; i < 600 && !other.closed; i += 1) await new Promise((next) => setTimeout(next, 50));
        return other.closed ? "severed" : "open";
    };
    const register = async () => {
        await navigator.serviceWorker.register("worker.js", { scope: "/_emulator/" });
        return "registered";
    };
    return {
        read: await call("/_emulator/ui/"),
        sent: await call("/_emulator/clock/freeze", { method: "POST" }),
        framed: inside(frame.contentWindow),
        opened: await severed(),
        worker: await tried(register),
        script: await loaded(document.createElement("script"), origin + "/_emulator/ui/static/inspector.js"),
        cookie: document.cookie,
    };
}"""
