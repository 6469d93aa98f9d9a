"""The system's Chromium, driven by Playwright."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable

import pytest
from inspector_testing import EVIL, note_problems
from trace_page_testing import write
from trace_testing import real_trace

from caged import Caged
from caged.emulator import AccountView, Emulator
from caged.emulator.trace.file import Trace

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page, Request

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find_chromium() -> str:
    """The path of a Chromium; empty without one."""
    given = os.environ.get("CAGED_TEST_CHROMIUM", "")
    return given or next((path for path in map(shutil.which, NAMES) if path), "")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Start a browser for the tests of one file. Playwright occupies the event loop of the thread until it is stopped,
    so that other files' tests could not run one."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed")
    path = find_chromium()
    if not path:
        pytest.skip("no Chromium: install the Debian package `chromium`, or set CAGED_TEST_CHROMIUM to its path")
    with sync_api.sync_playwright() as playwright:
        # Its own sandbox does not work for root and in containers; only pages made by these tests are opened.
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


VIEWPORT: Any = {"width": 1280, "height": 800}


def new_context(browser: Browser, **options: Any) -> BrowserContext:
    context = browser.new_context(**{"viewport": VIEWPORT, **options})
    context.set_default_timeout(60_000)
    return context


class WatchedPage:
    """A page, and what it logs, raises, asks, or requests besides its file."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.problems: list[str] = []
        self._url = ""
        note_problems(page, self.problems)
        page.on("request", self._note_request)

    def _note_request(self, request: Request) -> None:
        if request.url.split("#")[0] != self._url:
            self.problems.append(f"request: {request.url}")

    def show(self, path: Path, fragment: str) -> Page:
        self.leave()
        self._url = path.as_uri()
        self.page.goto(self._url + fragment)
        return self.page

    def leave(self) -> None:
        if self._url:
            self.page.evaluate("localStorage.clear()")  # the theme
            self._url = ""
            self.page.goto("about:blank")


@pytest.fixture(scope="module")
def shared_page(browser: Browser) -> Iterator[WatchedPage]:
    """A page for all files without options of their own: with a new one, a file takes twice the CPU time."""
    context = new_context(browser)
    yield WatchedPage(context.new_page())
    context.close()


@pytest.fixture
def open_page(browser: Browser, shared_page: WatchedPage) -> Iterator[Callable[..., Page]]:
    """Open a file in the shared page, or with options or a script in one of its own. A message of the console, an
    exception, or a request for anything but the file fails the test."""
    watched = [shared_page]

    def open_file(path: Path, fragment: str = "", script: str = "", **options: Any) -> Page:
        if not script and not options:
            return shared_page.show(path, fragment)
        context = new_context(browser, **options)
        if script:
            context.add_init_script(script)
        watched.append(WatchedPage(context.new_page()))
        return watched[-1].show(path, fragment)

    yield open_file
    shared_page.leave()
    problems = [problem for one in watched for problem in one.problems]
    shared_page.problems.clear()
    for one in watched[1:]:
        one.page.context.close()
    assert problems == []


# --- the page of a trace


@pytest.fixture(scope="module")
def trace() -> Trace:
    return real_trace()


@pytest.fixture(scope="module")
def path(trace: Trace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of that trace."""
    return write(trace, tmp_path_factory.mktemp("page"))


# --- the inspector


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator(allow_unused=True) as running:
        yield running


@pytest.fixture
def view(emulator: Emulator) -> Iterator[AccountView]:
    with emulator.account(name=EVIL, allow_unused=True) as made:
        yield made


@pytest.fixture
def caged(view: AccountView) -> Iterator[Caged]:
    with Caged(api_key=view.api_key, base_url=view.base_url) as client:
        yield client


@pytest.fixture(scope="module")
def window(emulator: Emulator, browser: Browser) -> Iterator[BrowserContext]:
    """A window that is logged in."""
    context = new_context(browser)
    context.set_default_timeout(60_000)
    context.new_page().goto(emulator.ui_link())
    yield context
    context.close()


@pytest.fixture
def problems() -> list[str]:
    """What `page` logs, raises or asks. A test removes what it expects; anything else fails it."""
    return []


@pytest.fixture
def page(window: BrowserContext, view: AccountView, problems: list[str]) -> Iterator[Page]:
    """The page of the window. It leaves the inspector before the account is deleted, which it would report."""
    page = window.pages[0]
    page.goto("about:blank")
    page.set_viewport_size(VIEWPORT)
    stop = note_problems(page, problems)
    yield page
    page.goto("about:blank")
    stop()
    assert problems == []
