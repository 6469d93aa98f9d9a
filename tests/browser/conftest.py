"""The system's Chromium, driven by Playwright."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

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


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Open a file in a new window. A message of the console, an exception, or a request for anything but the file fails
    the test."""
    contexts, problems = [], []

    def open_file(path: Path, fragment: str = "", script: str = "", **options: Any) -> Page:
        options = {"viewport": {"width": 1280, "height": 800}, **options}
        context = browser.new_context(**options)
        contexts.append(context)
        context.set_default_timeout(20_000)
        if script:
            context.add_init_script(script)
        page = context.new_page()
        page.on("console", lambda message: problems.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: problems.append(f"exception: {error}"))
        page.on("dialog", lambda dialog: (problems.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        url = path.as_uri()
        page.on(
            "request", lambda request: request.url.split("#")[0] != url and problems.append(f"request: {request.url}")
        )
        page.goto(url + fragment)
        return page

    yield open_file
    for context in contexts:
        context.close()
    assert problems == []
