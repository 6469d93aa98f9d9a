"""The page of a trace in a real browser."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable

import pytest
from accessibility import AXE, COLOR_RULES, looks_dark, violations, violations_in_both_schemes
from trace_testing import NODE_ID, many_steps, step

from caged.emulator.trace.file import Trace, TraceHeader, UnusedControl
from caged.emulator.trace.summary import markdown

if TYPE_CHECKING:
    from playwright.sync_api import Page
from trace_page_testing import Open, choose, ready, row, rows, selected, write

#: The file of axe-core 4.14.1 on the npm registry.
AXE_HASH = "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c"


@pytest.fixture
def page(path: Path, open_page: Open) -> Page:
    return ready(open_page(path))


@pytest.fixture
def kept(path: Path, read_page: Callable[[Path], Page]) -> Page:
    """The page of the trace, with anything but its first selection as in `page`."""
    return read_page(path)


@pytest.fixture(scope="module")
def refused_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(refused(), tmp_path_factory.mktemp("refused"))


@pytest.fixture
def kept_refused(refused_path: Path, read_page: Callable[[Path], Page]) -> Page:
    return read_page(refused_path)


def test_answer_is_on_the_screen_without_a_click(page: Page) -> None:
    for text in (
        "FAILED",
        "AssertionError: assert 1 == 0",
        "assert result.exit_code == 0, result.output",
        "fault snapshots.create 500",
        "the sum is wrong, repair calc.py",
        "I changed add() so that it adds.",
    ):
        box = page.get_by_text(text).locator("visible=true").first.bounding_box()
        assert box is not None, text
        assert box["y"] + box["height"] <= 800, text
    tail = page.locator(".tail").bounding_box()
    assert tail is not None
    assert tail["y"] + tail["height"] <= 800
    assert page.locator(".tail").inner_text().rstrip().endswith("===== 1 failed, 1 passed in 0.61s =====")
    assert selected(page) == "sh run_tests.sh"
    assert page.locator("[aria-selected=true][role=treeitem]").bounding_box()["y"] < 800  # type: ignore[index]


def test_list_has_all_steps_nested(kept: Page, trace: Trace) -> None:
    assert len(rows(kept)) == len(trace.steps)
    levels = {
        text: int(kept.locator("[role=treeitem]").nth(i).get_attribute("aria-level") or 0)
        for i, text in enumerate(rows(kept))
    }
    prompt = next(text for text in levels if text.startswith("claude-code:"))
    assert [levels["call"], levels[prompt], levels["write /workspace/run_tests.sh"]] == [1, 5, 4]
    assert kept.get_by_role("status").filter(has_text=f"{len(trace.steps)} steps").is_visible()


def test_selection_by_click_does_not_move_the_list(kept: Page) -> None:
    scroller = kept.locator(".rows")
    scroller.evaluate("(box) => (box.scrollTop = 201)")
    texts = ("claude -p", "write /workspace/run_tests.sh", "clock advance")
    for text in texts:
        element = row(kept, text)
        box, view = element.bounding_box(), scroller.bounding_box()
        assert box
        assert view
        if not view["y"] <= box["y"] <= view["y"] + view["height"] - 28:
            continue
        element.click()
        assert scroller.evaluate("(box) => box.scrollTop") == 201
        assert selected(kept).startswith(text)
        break
    else:
        pytest.fail("no row was in view")


def test_arrows_move_open_and_close(kept: Page) -> None:
    row(kept, "sandboxes.create").click()
    kept.keyboard.press("ArrowRight")
    assert selected(kept) == "POST /v1/sandboxes"
    kept.keyboard.press("ArrowLeft")
    assert row(kept, "POST /v1/sandboxes").get_attribute("aria-expanded") == "false"
    assert "sandbox is ready" not in rows(kept)
    kept.keyboard.press("ArrowLeft")
    assert selected(kept) == "sandboxes.create"
    kept.keyboard.press("ArrowDown")
    kept.keyboard.press("ArrowRight")
    assert "sandbox is ready" in rows(kept)
    kept.keyboard.press("End")
    assert selected(kept) == "destroyed"
    kept.keyboard.press("Home")
    assert selected(kept) == "call"
    kept.keyboard.press("ArrowUp")
    assert selected(kept) == "call"
    kept.keyboard.press("PageDown")
    assert selected(kept) != "call"


def test_active_row_is_named_for_a_screen_reader(kept: Page) -> None:
    row(kept, "claude -p").click()
    active = kept.get_by_role("tree").get_attribute("aria-activedescendant")
    assert kept.locator(f"#{active}").get_attribute("aria-selected") == "true"


def test_e_selects_the_next_error_and_begins_again(kept: Page, trace: Trace) -> None:
    kept.keyboard.press("e")
    seen = [kept.evaluate("location.hash")]
    for _ in range(sum(one.status == "error" for one in trace.steps)):
        kept.keyboard.press("e")
        seen.append(kept.evaluate("location.hash"))
    assert seen[-1] == seen[0]
    failed = {f"#step-{one.id}" for one in trace.steps if one.status == "error"}
    assert set(seen) == failed


def test_e_opens_what_an_error_is_in(kept: Page) -> None:
    row(kept, "call").first.click()
    kept.keyboard.press("ArrowLeft")
    assert rows(kept) == ["call"]
    kept.keyboard.press("e")
    assert selected(kept) == "sandboxes.exec"


def test_filter_by_text_searches_outputs_and_keeps_what_steps_are_in(kept: Page, trace: Trace) -> None:
    kept.keyboard.press("/")
    kept.keyboard.type("assert add(1, 2)")
    found = kept.locator("[role=treeitem]:not(.aside) .title").all_inner_texts()
    assert "sh run_tests.sh" in found
    assert all("claude -p" not in text for text in rows(kept))
    assert rows(kept)[0] == "call"
    assert kept.locator("[role=treeitem].aside .title").first.inner_text() == "call"
    assert re.fullmatch(rf"\d+ of {len(trace.steps)} steps", kept.locator(".count").inner_text())
    kept.keyboard.press("Escape")
    assert len(rows(kept)) == len(trace.steps)
    kept.keyboard.press("/")
    kept.keyboard.type("there is no such text")
    assert kept.get_by_text("No step matches the filter").is_visible()
    kept.keyboard.press("Escape")


def test_filter_opens_what_its_matches_are_in_and_restores_it_when_it_is_cleared(kept: Page) -> None:
    row(kept, "call").first.click()
    kept.keyboard.press("ArrowLeft")
    assert rows(kept) == ["call"]
    kept.get_by_label("Errors only").check()
    assert "sh run_tests.sh" in rows(kept)
    kept.get_by_label("Errors only").press("Escape")
    assert rows(kept) == ["call"]
    kept.keyboard.press("/")
    kept.keyboard.type("assert add(1, 2)")
    found = kept.locator("[role=treeitem]:not(.aside) .title").all_inner_texts()
    assert "sh run_tests.sh" in found
    # A step that is closed while the filter is on stays closed until the filter changes.
    kept.keyboard.press("ArrowDown")
    assert selected(kept) == "call"
    kept.keyboard.press("ArrowLeft")
    assert rows(kept) == ["call"]
    kept.keyboard.press("/")
    kept.keyboard.press("End")
    kept.keyboard.type(" ")
    assert "sh run_tests.sh" in rows(kept)
    row(kept, "sh run_tests.sh").click()
    kept.keyboard.press("Escape")  # in the list
    assert kept.locator("input[type=search]").input_value() == ""
    assert rows(kept) == ["call"]
    kept.keyboard.press("ArrowUp")
    assert selected(kept) == "call"
    kept.keyboard.press("ArrowRight")


def test_filter_by_kind_and_by_errors(kept: Page) -> None:
    kept.get_by_text("Errors only").click()
    assert set(rows(kept)) == {
        "call",
        "sandboxes.exec",
        row(kept, "POST /v1").locator(".title").inner_text(),
        "sh run_tests.sh",
    }
    kept.get_by_text("Errors only").click()
    kept.locator(".kinds summary").click()
    for kind in ("request", "call", "control"):
        kept.locator(".menu label", has_text=kind).click()
    assert (
        not [text for text in rows(kept) if text.startswith(("POST", "faults add"))] or kept.locator(".aside").count()
    )
    assert "faults add" not in " ".join(rows(kept))
    kept.get_by_role("button", name="All", exact=True).click()
    kept.keyboard.press("Escape")
    assert not kept.locator(".menu").is_visible()


def test_selecting_a_step_that_is_filtered_out_clears_the_filter(kept: Page) -> None:
    kept.keyboard.press("/")
    kept.keyboard.type("42 packages")
    kept.locator(".cards a[data-step]").first.click()
    assert selected(kept) == "sh run_tests.sh"
    assert kept.locator("input[type=search]").input_value() == ""


def test_output_has_colors_times_and_overwritten_lines(kept: Page) -> None:
    panel = choose(kept, "sh run_tests.sh", "Output")
    assert panel.locator(".screen").text_content().count("collect") == 1
    assert panel.locator(".t-2", has_text="1 passed").count() == 1
    assert panel.locator(".t-1.t-bold, .t-bold.t-1").count() >= 1
    orange = panel.locator(".text span", has_text="test_calc.py").last.evaluate("(e) => getComputedStyle(e).color")
    assert orange not in ("rgb(27, 35, 48)", "rgb(255, 135, 0)")  # it has a color, which is readable on light
    times = [float(text) for text in panel.locator(".at").all_inner_texts() if text]
    assert times == sorted(times)
    assert times[-1] >= 0.5


def printing(*output: list[Any]) -> Trace:
    """A trace of a command that has printed this."""
    detail = {"command": "make", "source": "exec", "exit_code": 0, "output": list(output)}
    return Trace(TraceHeader("t::t"), [step("c", "command", "$ make", 0.0, duration_ms=2000.0, detail=detail)])


def test_output_plays_like_a_recording(tmp_path: Path, open_page: Open) -> None:
    lines = [[1.5 + number, f"line {number}\n"] for number in range(8)]
    output = [[0.3, "collecting\n"], [0.5, "one\n"], *lines, [9.5, "1 failed\n"]]
    page = ready(open_page(write(printing(*output), tmp_path)))
    panel = page.get_by_role("tabpanel")
    screen = panel.locator(".screen")
    whole = screen.text_content()
    slider = panel.get_by_label("Position in the recording")
    slider.fill("0")
    assert screen.text_content() == ""
    assert panel.locator(".clock").inner_text() == "0.00 s"
    slider.fill("0.35")
    assert "1 failed" not in screen.text_content()
    assert "collecting" in screen.text_content()
    assert panel.locator(".clock").inner_text() == "0.30 s"
    panel.get_by_label("Speed").select_option("0.5")
    panel.get_by_role("button", name="Play").click()
    assert panel.get_by_role("button", name="Pause").is_visible()  # 18 seconds are left: a busy machine is in time
    panel.get_by_label("Speed").select_option("4")
    screen.filter(has_text="1 failed").wait_for()
    panel.get_by_role("button", name="Play").wait_for()
    assert screen.text_content() == whole


def test_short_output_has_no_player(tmp_path: Path, open_page: Open) -> None:
    trace = printing([0.3, "one\n"])
    detail = {**trace.steps[0].detail, "output": [[0.3, "one\n"], [1.2, "two\n"]]}
    trace.steps.append(step("d", "command", "$ second", 3.0, duration_ms=2000.0, detail=detail))
    page = ready(open_page(write(trace, tmp_path)))
    for title, text in (("make", "one"), ("second", "two")):
        assert text in choose(page, title).locator(".screen").text_content()
        assert page.locator(".player").count() == 0


def refused() -> Trace:
    """A failed test of which the last exec was refused, with an alert and an application's line."""
    source = {"path": "tests/test_x.py", "line": 46, "code": [[46, "    assert application.check(box)"]]}
    nearest = {"path": "application.py", "line": 11, "code": [[11, "    return client.exec(box)"]]}
    reason = "sandbox cage_1 is paused, not running; resume it first"
    call = {"call": "sandboxes.exec", "error": reason, "source": source, "nearest_source": nearest}
    body = json.dumps({"content": "one\n\ttwo \\n\n"})
    request = {
        "method": "POST",
        "path": "/v1/x/exec",
        "status": 200,
        "error": reason,
        "request": body,
        "response": "{}",
    }
    change = {"path": "/workspace/src/calc.py", "change": "added", "before": None, "after": "1\n"}
    other = {"path": "/workspace/other.py", "change": "added", "before": None, "after": "2\n"}
    ran = {"command": "claude", "source": "exec", "exit_code": 0, "output": [[0.1, "ok\n"]], "changes": [change, other]}
    prompt = {"agent": "claude-code", "program": "claude", "prompt": "go", "reply": "done"}
    wrote = {"event": "file_op", "session": "", "data": {"operation": "write", "path": "/workspace/src/calc.py"}}
    added = {"operation": "emulator.faults.add", "body": {"operation": "sandboxes.get", "status": 503}}
    steps = [
        step("call", "test", "call", 0.0, status="error", duration_ms=900.0, detail={"phase": "call"}),
        step("f", "control", "faults add", 0.01, parent="call", controls=["fault_1"], detail=added),
        step("r", "command", "$ claude", 0.1, parent="call", duration_ms=100.0, sandbox="cage_1", detail=ran),
        step("p", "prompt", "claude-code: go", 0.11, parent="r", sandbox="cage_1", detail=prompt),
        step("w", "file", "write /workspace/src/calc.py", 0.12, parent="p", sandbox="cage_1", detail=wrote),
        step("a", "alert", "warning: Budget: $1 of $2", 0.3, parent="call", detail={"severity": "warning"}),
        step("b", "call", "sandboxes.exec cage_1", 0.5, parent="call", status="error", detail=call),
        step("q", "request", "POST /v1/x/exec", 0.5, parent="b", status="error", detail=request),
        step("c", "command", "$ check", 0.5, parent="q", status="error", detail={"command": "check", "error": reason}),
    ]
    return Trace(
        TraceHeader(
            "t::t",
            "failed",
            start=0.0,
            duration_ms=900.0,
            error="whole text\n" * 30,
            error_summary="assert 0",
            error_source=source,
            phase="call",
            unused=[UnusedControl("fault_1", "fault sandboxes.get 503", "tests/test_x.py:4", ["nothing"])],
        ),
        steps,
    )


def test_exec_that_was_refused_is_selected_with_its_reason(refused_path: Path, open_page: Open) -> None:
    page = ready(open_page(refused_path))
    reason = "sandbox cage_1 is paused, not running; resume it first"
    assert selected(page) == "check"
    assert page.locator(".heading .reason").inner_text() == reason
    assert reason in page.locator(".card", has_text="Last command").inner_text()
    assert page.locator(".row.selected .reason").inner_text().strip() == reason
    assert "It was not run" in page.get_by_role("tabpanel").inner_text()
    page.get_by_label("Errors only").check()
    assert page.locator("[role=treeitem]:not(.aside) .title").all_inner_texts() == [
        "call",
        "sandboxes.exec cage_1",
        "POST /v1/x/exec",
        "check",
    ]
    page.keyboard.press("Escape")


def test_details_of_a_failed_phase_a_call_and_changes_above(kept_refused: Page) -> None:
    page = kept_refused
    whole = page.locator(".whole")
    whole.locator("summary").click()
    assert whole.bounding_box()["width"] > 1100
    panel = choose(page, "call")
    assert "assert 0" in panel.inner_text()
    assert "whole text" in panel.inner_text()
    assert "assert application.check" in panel.locator(".here").inner_text()
    call = choose(page, "sandboxes.exec cage_1")
    assert call.locator(".where").all_inner_texts() == ["tests/test_x.py:46", "application.py:11"]
    # A text of several lines is shown as lines; a backslash and an n in it are not a line break.
    body = choose(page, "POST /v1/x/exec", "Request").locator(".code").inner_text()
    assert body == '{\n  "content": """\n    one\n    \ttwo \\\\n\n\n  """\n}'
    assert choose(page, "claude-code: go", "Files").locator(".change").count() == 2
    assert (
        choose(page, "write /workspace", "Files").locator(".change .text").first.inner_text()
        == "/workspace/src/calc.py"
    )
    assert page.locator(".change").count() == 1
    page.get_by_role("link", name="added /workspace/src/calc.py").click()
    assert selected(page) == "claude"
    assert page.get_by_role("tab", name="Files").get_attribute("aria-selected") == "true"
    page.get_by_label("Wrap lines").check()
    assert page.locator(".diff .text").first.evaluate("(e) => getComputedStyle(e).whiteSpace") == "pre-wrap"
    assert page.locator(".diff .text").first.evaluate("(e) => getComputedStyle(e).tabSize") == "8"


def test_banner_leads_to_the_step_that_added_a_control(kept_refused: Page) -> None:
    page = kept_refused
    page.locator(".unused a").click()
    assert selected(page).startswith("faults add")
    page.get_by_role("tab", name="Matched").click()
    assert "It was added by" not in page.get_by_role("tabpanel").inner_text()  # a link to itself
    row(page, "Budget: $1 of $2").click()
    assert "▲ warning" in page.locator(".heading").inner_text()
    assert "warning" in page.locator(".row.selected .outcome").inner_text()


def test_legend_names_the_colors_of_the_bars(kept_refused: Page) -> None:
    page = kept_refused
    legend = page.locator(".legend").inner_text()
    for name in ("call", "request", "command", "agent's prompt", "alert or error", "other", "failed"):
        assert name in legend
    colors = "(e) => getComputedStyle(e).fill"
    for kind in ("call", "request", "command", "prompt"):
        assert page.locator(f".key.{kind}").evaluate(colors) == page.locator(f".bar.{kind}").first.evaluate(colors)


def test_narrow_page_shows_the_details_of_a_link_and_lets_the_wheel_pass(tmp_path: Path, open_page: Open) -> None:
    page = ready(open_page(write(many_steps(200), tmp_path), size={"width": 800, "height": 900}))
    assert page.evaluate("scrollY") == 0
    page.locator(".lanes .bar").last.dispatch_event("click")
    top = page.locator(".heading").bounding_box()["y"]
    assert 0 <= top < 660
    chosen, view = page.locator(".row.selected").bounding_box(), page.locator(".rows").bounding_box()
    assert view["y"] <= chosen["y"] <= view["y"] + view["height"] - chosen["height"]
    assert page.locator(".rows").evaluate("(e) => getComputedStyle(e).overflowY") == "hidden"
    page.locator(".rows").focus()
    assert page.locator(".rows").evaluate("(e) => getComputedStyle(e).overflowY") == "auto"


def test_selection_stays_in_view_after_a_filter(tmp_path: Path, open_page: Open) -> None:
    page = ready(open_page(write(many_steps(200), tmp_path)))
    page.keyboard.press("End")  # at once, without a click
    last = page.locator(".row.selected").get_attribute("data-index")
    page.keyboard.press("Home")
    assert page.locator(".row.selected").get_attribute("data-index") == "0"
    page.locator(".lanes .bar").nth(60).dispatch_event("click")  # far from both ends: its row comes to the middle
    place = """(name) => {
      const box = document.querySelector(name).getBoundingClientRect();
      return box.top + box.height / 2;
    }"""
    assert abs(page.evaluate(place, ".row.selected") - page.evaluate(place, ".rows")) < 60
    assert 0 < int(page.locator(".row.selected").get_attribute("data-index")) < int(last)
    page.keyboard.press("/")
    page.keyboard.type("nothing like this")
    assert page.locator(".list > .empty").bounding_box()["y"] < page.locator(".rows").bounding_box()["y"] + 1
    page.locator("#steps").click(position={"x": 200, "y": 200})
    page.locator("body").press("e")
    assert page.locator(".count").inner_text() == "none among the filtered steps"
    page.get_by_role("button", name="Clear the filter").click()
    in_view = """() => {
      const box = (name) => document.querySelector(name).getBoundingClientRect();
      return box('.row.selected').top >= box('.rows').top && box('.row.selected').bottom <= box('.rows').bottom;
    }"""
    assert page.evaluate(in_view)
    page.keyboard.press("/")
    page.keyboard.type("a")
    page.keyboard.press("Escape")
    assert page.evaluate(in_view)


def test_kinds_can_be_chosen_all_none_and_only(kept: Page) -> None:
    kept.locator(".kinds summary").click()
    kept.get_by_role("button", name="Only command").click()
    assert all(title for title in kept.locator("[role=treeitem]:not(.aside) .kind.command").all())
    assert kept.locator(".kinds input:checked").count() == 1
    kept.get_by_role("button", name="None", exact=True).click()
    assert rows(kept) == []
    kept.get_by_role("button", name="All", exact=True).click()
    assert "call" in rows(kept)
    kept.keyboard.press("Escape")


def test_tabs_show_call_request_response_files_agent_and_matched(kept: Page) -> None:
    assert "npm install" in choose(kept, "npm install --silent", "Call").locator(".here").inner_text()
    assert '"command": "npm install --silent"' in choose(kept, "npm install --silent", "Request").inner_text()
    assert "added 42 packages" in choose(kept, "npm install --silent", "Response").inner_text()
    assert "stub 'npm install*'" in choose(kept, "npm install --silent", "Matched").inner_text()
    files = choose(kept, "claude -p", "Files")
    assert files.locator(".removed .text").all_inner_texts() == ["    return a - b"]
    assert files.locator(".added .text").all_inner_texts() == ["    return a + b + 1"]
    assert "+1" in files.inner_text()
    assert "is not text" in files.inner_text()
    agent = choose(kept, "claude -p", "Agent").inner_text()
    assert "the sum is wrong, repair calc.py" in agent
    assert "$0.25" in agent
    assert "sonnet" in agent
    assert "sess_" in agent
    misses = choose(kept, "sh run_tests.sh", "Matched").inner_text()
    assert "stub 'npm install*': the command does not match the glob" in misses
    assert "snapshots.create" in choose(kept, "faults add: fault snapshots", "Matched").inner_text()


def test_fault_is_marked_in_the_list_and_on_the_axis(kept: Page) -> None:
    failed = kept.locator("[role=treeitem]", has=kept.locator(".mark.fault"))
    assert "POST /v1/sandboxes" in failed.inner_text()
    assert "503" in failed.inner_text()
    for name in ("fault", "stub", "reply", "clock"):
        assert kept.locator(f".lanes .mark.{name}").count() == 1, name
    legend = kept.locator(".legend").inner_text()
    assert all(word in legend for word in ("fault", "stub", "prompt", "clock moved"))
    failed.click()
    kept.get_by_role("tab", name="Matched").click()
    assert "fault sandboxes.exec 503" in kept.get_by_role("tabpanel").inner_text()


def test_axis_has_a_lane_for_the_client_and_each_sandbox_and_selects(page: Page, trace: Trace) -> None:
    lanes = page.locator(".lanes text.lane").all_text_contents()
    assert len(lanes) == 2
    assert "client" in lanes[0]
    assert "cage_" in lanes[1]
    page.locator(".bar.prompt").dispatch_event("click")
    assert page.get_by_role("tab", name="Agent").get_attribute("aria-selected") == "true"
    assert selected(page).startswith("claude-code:")


def test_click_near_a_step_on_the_axis_selects_it(kept: Page) -> None:
    bar, view = kept.locator(".bar.command").last.bounding_box(), kept.locator(".lanes svg").bounding_box()
    assert bar
    assert view
    kept.keyboard.press("Home")
    top = view["y"] + 22 + 26  # the lane of the sandbox, in which no bar begins at its upper edge
    kept.mouse.click(bar["x"] + bar["width"] / 2, top + 2)
    assert selected(kept) == "sh run_tests.sh"
    kept.locator(".lanes .mark.fault").dispatch_event("click")
    assert "503" in kept.locator("[role=treeitem][aria-selected=true]").inner_text()


def test_tabs_by_keyboard(kept: Page) -> None:
    choose(kept, "claude -p", "Output")
    kept.get_by_role("tab", name="Output").focus()
    kept.keyboard.press("ArrowRight")
    assert kept.get_by_role("tab", name="Call").get_attribute("aria-selected") == "true"
    kept.keyboard.press("ArrowLeft")
    kept.keyboard.press("ArrowLeft")
    assert kept.get_by_role("tab", name="Data").get_attribute("aria-selected") == "true"
    assert selected(kept).startswith("claude -p")


def test_copy_as_markdown_with_and_without_the_clipboard_api(kept: Page, trace: Trace) -> None:
    button, said = kept.get_by_role("button", name="Copy as Markdown"), kept.locator("#tools .said")
    button.click()
    kept.get_by_text("Copied").wait_for()
    assert kept.evaluate("navigator.clipboard.readText()") == markdown(trace)
    said.evaluate("(one) => (one.textContent = '')")
    kept.evaluate("""() => {
      Object.defineProperty(navigator, 'clipboard', { value: undefined, configurable: true });
      document.addEventListener('copy', () => { window.copied = document.activeElement.value; }, { once: true });
    }""")
    button.click()
    kept.get_by_text("Copied").wait_for()
    assert kept.evaluate("window.copied").startswith("# FAILED")
    kept.evaluate("delete navigator.clipboard")


def test_fragment_names_the_step(path: Path, open_page: Open, trace: Trace) -> None:
    prompt = next(one for one in trace.steps if one.kind == "prompt")
    page = ready(open_page(path, f"#step-{prompt.id}"))
    assert selected(page).startswith("claude-code:")
    row(page, "npm install --silent").click()
    stub = next(one for one in trace.steps if one.title.startswith("$ npm"))
    assert page.evaluate("location.hash") == f"#step-{stub.id}"
    page.evaluate(f"location.hash = '#step-{prompt.id}'")
    page.locator("[role=treeitem][aria-selected=true]", has_text="claude-code").wait_for()
    unknown = ready(open_page(path, "#step-%E0%A4%A"))
    assert selected(unknown) == "sh run_tests.sh"


def test_keys_are_shown(kept: Page) -> None:
    kept.keyboard.press("?")
    dialog = kept.get_by_role("dialog")
    assert "next step that failed" in dialog.inner_text()
    kept.keyboard.press("Escape")
    assert not dialog.is_visible()


def test_summary_folds(kept: Page) -> None:
    button = kept.get_by_role("button", name="Summary")
    button.click()
    assert not kept.locator("#answer").is_visible()
    assert button.get_attribute("aria-expanded") == "false"
    button.click()
    assert kept.locator("#answer").is_visible()


def test_theme_follows_the_system_and_can_be_switched(path: Path, open_page: Open) -> None:
    page = ready(open_page(path))
    button = page.get_by_role("button", name="Theme")
    for scheme, is_dark in (("dark", True), ("light", False)):
        page.emulate_media(color_scheme=scheme)
        assert looks_dark(page) is is_dark
        button.click()
        assert (button.inner_text(), looks_dark(page)) == ("Theme: light", False)
        button.click()
        assert (button.inner_text(), looks_dark(page)) == ("Theme: dark", True)
        button.click()
        assert (button.inner_text(), looks_dark(page)) == ("Theme: auto", is_dark)
        if is_dark:
            page.reload()  # it is dark from the beginning
            assert looks_dark(ready(page))


def test_vendored_axe_is_the_published_one() -> None:
    assert hashlib.sha256(AXE.read_bytes()).hexdigest() == AXE_HASH


def test_accessibility(path: Path, open_page: Open) -> None:
    page = ready(open_page(path, size={"width": 1280, "height": 900}))
    check = violations_in_both_schemes
    assert check(page, "body") == []
    for text, tab in TABS:
        choose(page, text, tab)
        assert check(page, ".details") == [], tab
    page.locator(".kinds summary").click()
    assert check(page, ".filters") == []
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    assert check(page, "dialog") == []
    page.keyboard.press("Escape")
    # In a narrow window: the style sheet places parts elsewhere there, in the same colors.
    page.set_viewport_size({"width": 800, "height": 900})
    assert violations(page, "body", but=COLOR_RULES) == []
    for text, tab in SCROLLED:
        choose(page, text, tab)
        assert violations(page, ".details", but=COLOR_RULES) == [], f"{tab} in a narrow window"
    page.locator(".kinds summary").click()
    assert violations(page, ".filters", but=COLOR_RULES) == []
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    assert violations(page, "dialog", but=COLOR_RULES) == []


#: Steps, and tabs of theirs: each kind of tab once.
TABS = [
    *(("sh run_tests.sh", tab) for tab in ("Output", "Call", "Request", "Matched", "Data")),
    *(("claude -p", tab) for tab in ("Files", "Agent")),
]
#: Those with a part that scrolls by itself, which a narrow window makes smaller.
SCROLLED = [("sh run_tests.sh", "Output"), ("claude -p", "Files")]


def test_all_colors_of_a_terminal_are_readable(tmp_path: Path, open_page: Open) -> None:
    codes = [*range(30, 38), *range(90, 98)]
    text = "".join(f"\x1b[{code}mcolor {code}\x1b[0m \x1b[7;{code}minverse {code}\x1b[0m\n" for code in codes)
    text += "".join(f"\x1b[38;5;{code}mpalette {code}\x1b[0m\n" for code in range(0, 256, 9))
    text += "".join(f"\x1b[48;5;{code}mground {code}\x1b[0m\n" for code in range(0, 256, 9)) + "\x1b[2mdim\x1b[0m\n"
    command = step("s1", "command", "$ colors", detail={"output": [[0.0, text]], "exit_code": 0})
    path = write(Trace(TraceHeader("colors"), [command]), tmp_path)
    page = ready(open_page(path, size={"width": 1280, "height": 3000}))
    # The policy of the page forbids a style sheet and a script that a test would add.
    page.evaluate("""() => {
      for (const one of document.querySelectorAll('.screen')) one.style.maxHeight = 'none';
      for (const one of document.querySelectorAll('.line')) one.style.contentVisibility = 'visible';
    }""")
    page.evaluate(AXE.read_text(encoding="utf-8"))
    options = {"runOnly": ["color-contrast"]}
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert looks_dark(page) is (scheme == "dark")
        result = page.evaluate("(options) => axe.run('.screen', options)", options)
        assert [node["html"] for one in result["violations"] for node in one["nodes"]] == [], scheme
        assert result["passes"], "axe looked at nothing"


def test_header_json_in_the_page_is_the_trace(kept: Page, trace: Trace) -> None:
    assert NODE_ID.rpartition("::")[2] == kept.locator("h1").inner_text()
    data = choose(kept, "clock advance", "Data").inner_text()
    assert json.dumps("emulator.clock.advance") in data


def test_whole_error_and_long_lines_leave_room_and_copying_moves_nothing(tmp_path: Path, open_page: Open) -> None:
    trace = refused()
    trace.header.error_source["code"].append([47, "    " + "x" * 900])  # type: ignore[index]
    page = ready(open_page(write(trace, tmp_path)))
    line = page.locator(".card .source > span").last
    assert line.evaluate("(e) => getComputedStyle(e).textOverflow") == "ellipsis"
    assert line.evaluate("(e) => e.scrollWidth > e.clientWidth && e.offsetWidth <= e.closest('.card').clientWidth")
    place = page.get_by_role("button", name="Copy as Markdown").bounding_box()
    page.locator("#tools .said").evaluate("(e) => (e.textContent = 'Copied')")
    assert page.get_by_role("button", name="Copy as Markdown").bounding_box() == place
    page.locator(".whole summary").click()
    assert page.locator(".whole .code").bounding_box()["height"] <= 240
    assert page.locator(".whole .code").evaluate("(e) => e.scrollHeight > e.clientHeight")
    assert page.locator(".lanes text").first.evaluate("(e) => getComputedStyle(e).userSelect") == "none"
