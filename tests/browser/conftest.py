"""The system's Chromium, driven by Playwright."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable

import pytest
from inspector_testing import EVIL, note_problems

from caged import Caged
from caged.emulator import AccountView, Emulator

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

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


VIEWPORT = {"width": 1280, "height": 800}


def new_context(browser: Browser, **options: Any) -> BrowserContext:
    context = browser.new_context(**{"viewport": VIEWPORT, **options})
    context.set_default_timeout(60_000)
    return context


@pytest.fixture(scope="module")
def shared_context(browser: Browser) -> Iterator[BrowserContext]:
    """A context for all pages without options of their own: with a new one, a page takes twice the time."""
    context = new_context(browser)
    yield context
    context.close()


@pytest.fixture
def open_page(browser: Browser, shared_context: BrowserContext) -> Iterator[Callable[..., Page]]:
    """Open a file in a new window. A message of the console, an exception, or a request for anything but the file fails
    the test."""
    opened: list[Any] = []  # closed at the end: contexts, or pages of the shared one
    problems: list[str] = []

    def open_file(path: Path, fragment: str = "", script: str = "", **options: Any) -> Page:
        context = shared_context
        if script or options:
            context = new_context(browser, **options)
            opened.append(context)
        if script:
            context.add_init_script(script)
        page = context.new_page()
        if context is shared_context:
            opened.append(page)
        note_problems(page, problems)
        url = path.as_uri()
        page.on(
            "request", lambda request: request.url.split("#")[0] != url and problems.append(f"request: {request.url}")
        )
        page.goto(url + fragment)
        return page

    yield open_file
    if shared_context.pages:
        shared_context.pages[0].evaluate("localStorage.clear()")  # the theme
    for one in opened:
        one.close()
    assert problems == []


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
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.set_default_timeout(60_000)
    page = context.new_page()
    page.goto(emulator.ui_link())
    page.close()
    yield context
    context.close()
