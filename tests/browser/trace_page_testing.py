"""What the tests of the page of a trace share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Callable

from caged.emulator.trace.file import Trace
from caged.emulator.trace.page import build_page

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page


Open = Callable[..., "Page"]


def write(trace: Trace, directory: Path, name: str = "trace.html") -> Path:
    file = directory / name
    file.write_text(build_page(trace), encoding="utf-8")
    return file


def ready(page: Page) -> Page:
    page.wait_for_selector("[role=treeitem]")
    return page


def rows(page: Page) -> list[str]:
    return page.locator("[role=treeitem] .title").all_inner_texts()


def selected(page: Page) -> str:
    return page.locator("[role=treeitem][aria-selected=true] .title").inner_text()


def row(page: Page, text: str) -> Locator:
    return page.locator("[role=treeitem]", has=page.locator(".title", has_text=text)).first


def choose(page: Page, text: str, tab: str = "") -> Locator:
    """Select a step, and a tab of it; returns the tab's panel."""
    row(page, text).click()
    if tab:
        page.get_by_role("tab", name=tab).click()
    return page.get_by_role("tabpanel")
