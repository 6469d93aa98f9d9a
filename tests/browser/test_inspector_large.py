"""The inspector in a real browser with much to show: 10,000 steps, 200 sandboxes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from inspector_testing import show
from internals import platform_of

from caged import Caged
from caged.emulator import Emulator
from caged.emulator.control.step_log import KEEP
from caged.emulator.store import Sandbox

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page


@pytest.fixture(scope="module")
def page(window: BrowserContext) -> Page:
    return window.new_page()


def test_a_journal_of_10000_steps_is_usable(emulator: Emulator, page: Page) -> None:
    with emulator.account(allow_unused=True) as view, Caged(api_key=view.api_key, base_url=view.base_url) as caged:
        steps = platform_of(emulator).steps
        for number in range(KEEP - 5):
            steps.add("event", f"event number {number}", account=view.id, event="other", session="", data={})
        view.clock.tick()
        show(page, emulator, "journal", view.id)
        page.get_by_text(f"{KEEP - 4:,} steps").wait_for()
        page.locator("[role=treeitem]", has_text="clock").wait_for()
        assert page.locator("[role=treeitem]").count() < 200
        page.keyboard.press("/")
        page.keyboard.type("number 4321")
        page.locator("[role=treeitem]", has_text="event number 4321").wait_for()
        assert page.locator("[role=treeitem]").count() < 5
        page.keyboard.press("Escape")
        page.locator("[role=tree]").evaluate("tree => { tree.scrollTop = 0; }")
        caged.account.get()
        page.get_by_role("button", name="1 new step").click()
        page.locator("[role=treeitem]", has_text="account").first.wait_for()
        page.goto("about:blank")


def test_200_sandboxes_are_filtered_by_their_text(emulator: Emulator, page: Page) -> None:
    with emulator.account(allow_unused=True) as view, Caged(api_key=view.api_key, base_url=view.base_url) as caged:
        sandboxes = platform_of(emulator).store.sandboxes
        made = [
            Sandbox(f"cage_fake{number:04}", view.id, "minimal", 1, 512, 1, "full", 300, "2026-01-01T00:00:00Z")
            for number in range(200)
        ]
        sandboxes.update({one.id: one for one in made})
        try:
            show(page, emulator, "", view.id)
            rows = page.locator("tbody tr:visible")
            page.locator("tr", has_text="fake0199").wait_for()
            assert rows.count() == 200
            page.get_by_role("searchbox", name="Filter the table").fill("fake0017 minimal")
            assert rows.count() == 1
            page.get_by_text("1 of 200").wait_for()
            view.clock.freeze()
            caged.account.get()
            made[17].status = "paused"
            view.clock.tick()
            page.locator("tr", has_text="fake0017").get_by_text("paused").wait_for()
            assert rows.count() == 1  # the table was shown again
            page.goto("about:blank")
        finally:
            for one in made:
                del sandboxes[one.id]
