"""The tabs of a sandbox's page in a real browser: a terminal, files, snapshots."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Callable

import pytest
from accessibility import violations_in_both_schemes
from inspector_testing import show

from caged import Caged
from caged.emulator import AccountView, Emulator

if TYPE_CHECKING:
    from playwright.sync_api import Page


@pytest.fixture
def open_tab(page: Page, emulator: Emulator, view: AccountView) -> Callable[[str, str], Page]:
    """Shows a tab of a sandbox's page."""

    def open_page(sandbox: str, tab: str) -> Page:
        show(page, emulator, f"sandboxes/{sandbox}/{tab}", view.id)
        return page

    return open_page


def check_accessible(page: Page) -> None:
    """Check a page by axe-core, in light and dark, and that it fits windows of two widths."""
    assert violations_in_both_schemes(page) == []
    for width in (800, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_terminal_runs_what_is_typed(open_tab: Callable[[str, str], Page], caged: Caged) -> None:
    sandbox = caged.sandboxes.create(template="minimal")
    wait = "for i in $(seq 300); do stty size > after; cmp -s before after || break; sleep 0.1; done; echo resized"
    caged.files.write(sandbox.id, "/workspace/wait", wait)
    link = "clear; printf '\\033]8;;http://127.0.0.1:1/\\033\\\\a link\\033]8;;\\033\\\\\\n'"
    caged.files.write(sandbox.id, "/workspace/link", link)
    page = open_tab(sandbox.id, "terminal")
    page.get_by_text("● connected").wait_for()
    # Colors of all kinds, which the policy of the page would forbid as inline styles, and HTML.
    colors = "\\033[38;2;200;30;90mtrue\\033[0m \\033[1;31mred\\033[0m"
    page.keyboard.type(f"printf '{colors} %s\\n' '<img src=x onerror=alert(1)>'")
    page.keyboard.press("Enter")
    page.locator(".xterm-rows").get_by_text(re.compile("^true red <img src=x onerror=alert")).wait_for()
    assert page.locator(".xterm-rows img").count() == 0
    colored = page.locator(".xterm-rows span", has_text=re.compile("^true$")).last
    assert colored.evaluate("one => one.style.color") not in ("", "rgb(0, 0, 0)")
    # A link of a program leads nowhere.
    page.keyboard.type("sh link\n")
    page.locator(".xterm-rows > div").first.get_by_text("a link").wait_for()
    box = page.locator(".xterm-rows > div").first.bounding_box()
    assert box is not None
    pages = len(page.context.pages)
    page.mouse.move(box["x"] + 20, box["y"] + 8)
    page.mouse.click(box["x"] + 20, box["y"] + 8)
    # What is typed before the program reads would be read by the shell's editor, and Control+d would end nothing.
    page.keyboard.type("stty size > before; echo reading; cat > typed\n")
    page.locator(".xterm-rows").get_by_text(re.compile("^reading")).wait_for()
    page.keyboard.type("hello\n")
    page.keyboard.press("Control+d")
    page.set_viewport_size({"width": 800, "height": 600})
    page.keyboard.type("sh wait\n")
    page.locator(".xterm-rows").get_by_text(re.compile("^resized")).wait_for()
    page.set_viewport_size({"width": 1280, "height": 800})
    rows, columns = caged.files.read(sandbox.id, "/workspace/before").split()
    smaller_rows, smaller_columns = caged.files.read(sandbox.id, "/workspace/after").split()
    assert len(page.context.pages) == pages
    assert int(columns) > int(smaller_columns) >= 20
    assert int(rows) > int(smaller_rows) >= 4
    assert caged.files.read(sandbox.id, "/workspace/typed") == "hello\n"
    check_accessible(page)
    page.keyboard.press("Shift+Escape")
    assert page.evaluate("document.activeElement.className") == "terminal-line"
    page.locator(".xterm-helper-textarea").focus()
    page.keyboard.type("exit\n")
    page.get_by_text("The shell has ended").wait_for()
    page.get_by_role("button", name="Open it again").click()
    page.get_by_text("● connected").wait_for()
    caged.sandboxes.pause(sandbox.id)
    page.get_by_text("A terminal needs a running sandbox; this one is paused.").wait_for()
    assert page.locator(".xterm").count() == 0
    page.locator("#terminal").get_by_role("button", name="Resume").click()
    page.get_by_text("● connected").wait_for()


def test_a_file_is_viewed_with_what_has_changed_it_and_downloaded(
    open_tab: Callable[[str, str], Page], caged: Caged, view: AccountView, tmp_path: Path
) -> None:
    view.journal.record_file_changes(True)
    sandbox = caged.sandboxes.create(template="minimal")
    page = open_tab(sandbox.id, "files")
    page.get_by_text("This directory is empty").wait_for()
    caged.sandboxes.exec(sandbox.id, "mkdir src; printf 'one\\ntwo\\n' > 'src/<img src=x onerror=alert(1)>.txt'")
    page.get_by_role("link", name="src/").click()
    page.get_by_role("link", name="<img src=x").click()
    page.locator("pre.file").get_by_text("one").wait_for()
    caged.sandboxes.exec(sandbox.id, "cd src; sed -i 's/two/<b>2<\\/b>/' *.txt")
    page.locator("pre.file").get_by_text("<b>2</b>").wait_for()
    diff = page.locator(".file-change").first
    diff.locator(".added").get_by_text("<b>2</b>").wait_for()
    diff.locator(".removed").get_by_text("two").wait_for()
    with page.expect_download() as downloading:
        page.get_by_role("button", name="Download").click()
    downloading.value.save_as(tmp_path / "saved")
    assert (tmp_path / "saved").read_text() == "one\n<b>2</b>\n"
    check_accessible(page)
    diff.get_by_role("link").click()
    page.locator(".heading").get_by_text("sed -i").wait_for()


def test_a_file_of_several_mebibytes_is_downloaded(
    open_tab: Callable[[str, str], Page], caged: Caged, tmp_path: Path
) -> None:
    sandbox = caged.sandboxes.create(template="minimal")
    made = "seq 320000 > large; head -c 2097152 large > two; sha256sum large two"
    sums = caged.sandboxes.exec(sandbox.id, made).output.split()
    for name, expected in (("large", sums[0]), ("two", sums[2])):
        page = open_tab(sandbox.id, "files")
        page.get_by_role("link", name=name).click()
        page.get_by_text("1 MiB or more").wait_for()
        page.get_by_text("● live").wait_for()  # the scripts of this page run
        with page.expect_download() as downloading:
            page.get_by_role("button", name="Download").click()
        downloading.value.save_as(tmp_path / name)
        assert hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() == expected


def test_a_snapshot_is_taken_and_restored_into_a_new_sandbox(
    open_tab: Callable[[str, str], Page], caged: Caged
) -> None:
    sandbox = caged.sandboxes.create(template="minimal")
    caged.files.write(sandbox.id, "/workspace/kept.txt", "kept")
    page = open_tab(sandbox.id, "snapshots")
    page.get_by_label("Name").fill("<img src=x onerror=alert(1)>")
    page.get_by_role("button", name="Take a snapshot").click()
    row = page.locator("tr", has_text="<img src=x")
    row.get_by_text("● completed").wait_for()
    caged.files.write(sandbox.id, "/workspace/later.txt", "later")
    check_accessible(page)
    row.locator("summary", has_text=re.compile("^Restore$")).click()
    row.get_by_role("button", name="Yes, restore it").click()
    page.get_by_text("The workspace is that of the snapshot").wait_for()
    assert [one.name for one in caged.files.list(sandbox.id)] == ["kept.txt"]
    row.get_by_role("button", name="Restore into a new sandbox").click()
    page.wait_for_url(lambda url: url.split("?")[0].endswith("/files") and sandbox.id not in url)
    page.get_by_role("link", name="kept.txt").wait_for()
    (new,) = [one for one in caged.sandboxes.list() if one.id != sandbox.id]
    assert new.id in page.url
    assert caged.files.read(new.id, "/workspace/kept.txt") == "kept"


def test_the_other_tabs_follow_what_happens(
    open_tab: Callable[[str, str], Page], caged: Caged, view: AccountView
) -> None:
    view.agent("claude").reply("Fixed.", files={"/workspace/a.py": "a = 1\n"}, optional=True)
    sandbox = caged.sandboxes.create(template="minimal", agents=["claude"], network_mode="none")
    page = open_tab(sandbox.id, "sessions")
    caged.sandboxes.exec(sandbox.id, "claude -p 'fix <b>it</b>'")
    page.locator("td").get_by_role("link", name="sess_").click()
    page.locator(".replay").get_by_text("fix <b>it</b>").first.wait_for()
    check_accessible(page)
    page.get_by_role("button", name="Play").click()
    page.get_by_role("button", name="Play").wait_for()
    assert page.locator(".replay > li:visible").count() == len(
        caged.sessions.replay(caged.sessions.list_by_sandbox(sandbox.id)[0].id).events
    )
    page.get_by_role("link", name="Logs").click()
    page.locator(".log").get_by_text("claude-code received the prompt").wait_for()
    lines = "for i in $(seq 40); do claude -p $i; done"
    caged.sandboxes.exec(sandbox.id, lines)
    page.locator(".log").get_by_text("claude-code received the prompt: 40").wait_for()
    page.wait_for_function("() => { const log = document.querySelector('.log'); return log.scrollTop > 100; }")
    check_accessible(page)
    page.get_by_role("link", name="Ports").click()
    page.get_by_text("No process listens on a port").wait_for()
    caged.sandboxes.exec(sandbox.id, "nohup python3 -m http.server 3000 > /tmp/log 2>&1 &")
    page.get_by_role("link", name=f"{sandbox.id}-3000.localhost").wait_for()
    check_accessible(page)
    page.get_by_role("link", name="Settings").click()
    page.get_by_role("heading", name="Machine").wait_for()
    check_accessible(page)
