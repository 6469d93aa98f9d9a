"""The page of a trace in a real browser: traces that are hostile, damaged, large or unusual."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from cases import each
from leftovers import until
from trace_page_testing import Open, choose, ready, row, rows, selected, write
from trace_testing import hostile_trace, large_output, many_steps, step

from caged.emulator.trace.file import Trace, TraceHeader

HOSTILE = [
    "</script><script>window.hacked=1</script>",
    "<img src=x onerror=window.hacked=1>",
    '"><svg onload=window.hacked=1>',
    "' onmouseover='window.hacked=1' autofocus onfocus='window.hacked=1",
    "javascript:window.hacked=1",
    "<!--<script>window.hacked=1",
    "--></style></noscript></textarea><iframe srcdoc='<script>parent.hacked=1</script>'>",
    "${window.hacked=1} {{constructor.constructor('window.hacked=1')()}}",
    "\x1b]8;;javascript:window.hacked=1\x07link\x1b]8;;\x07 \x1b[99999999C\x1b[99999999;99999999H\x1b[38;2;1;2;3;4mx",
    "\ud800\udfff\x00\u202e\u2028\uffff\x7f\x9b",
    "__proto__",
    "constructor",
]


#: Select each step, and each tab of it; returns how many tabs there were.
VISIT_ALL = """() => {
  let tabs = 0;
  for (let i = 0; i < document.querySelectorAll('[role=treeitem]').length; i += 1) {
    document.querySelectorAll('[role=treeitem]')[i].click();
    for (let j = 0; j < document.querySelectorAll('[role=tab]').length; j += 1, tabs += 1) {
      document.querySelectorAll('[role=tab]')[j].click();
    }
  }
  return tabs;
}"""


#: As if a pointer moved over each element. Returns what a text would have changed: the flag, and elements that it made.
LOOK = """() => {
  for (const one of document.querySelectorAll('*')) {
    one.dispatchEvent(new MouseEvent('mouseover', { bubbles: true }));
  }
  return [window.hacked, document.querySelectorAll('iframe, img, svg[onload], script').length];
}"""


@each("text", HOSTILE)
def test_hostile_strings_execute_nothing(tmp_path: Path, open_page: Open, text: str) -> None:
    page = ready(open_page(write(hostile_trace(text), tmp_path)))
    assert page.evaluate(VISIT_ALL) > 40
    page.locator(".row.selected").hover(force=True)
    page.keyboard.press("/")
    page.keyboard.insert_text(text[:20].replace("\x00", "") if text.isprintable() else "x")
    assert page.evaluate(LOOK) == [None, 2]  # the data and the script
    assert page.url.startswith("file://")


def test_without_a_script_the_page_has_a_list(path: Path, open_page: Open, trace: Trace) -> None:
    page = open_page(path, java_script_enabled=False)
    listed = page.locator(".static > *").count() - 1
    assert listed == len(trace.steps)
    page.locator("summary", has_text="$ npm install").click()
    assert page.locator(".static details[open] pre").inner_text().strip() == "added 42 packages"
    assert "fault sandboxes.exec 503" in page.locator(".static").inner_html()


def test_without_decompression_streams(open_page: Open, tmp_path: Path) -> None:
    trace = large_output(size=300_000)
    path = write(trace, tmp_path)
    page = ready(open_page(path, "#step-s99", script="delete window.DecompressionStream"))
    assert page.evaluate("typeof DecompressionStream") == "undefined"
    assert selected(page) == "step 99"
    printed = trace.steps[99].detail["output"][0][1].splitlines()
    assert len(printed) > 20
    assert printed[-1] in (page.locator(".screen").text_content() or "")
    page.keyboard.press("End")
    assert selected(page) == "step 199"


def test_reading_of_damaged_data_is_reported(path: Path, browser: Any, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.html"
    damaged.write_text(
        path.read_text("utf-8").replace('id="trace-data">H4sI', 'id="trace-data">AAAA'), encoding="utf-8"
    )
    page = browser.new_page()
    page.goto(damaged.as_uri())
    assert "cannot be shown" in page.get_by_role("alert").inner_text()
    page.close()


#: The rows are made anew when the list has scrolled, which is after the key.
SELECTED_ROW_IS_IN_VIEW = """() => {
  const row = document.querySelector('.row.selected')?.getBoundingClientRect();
  const view = document.querySelector('.rows').getBoundingClientRect();
  return row !== undefined && view.top <= row.top && row.top <= view.bottom;
}"""


def test_ten_thousand_steps_stay_usable(tmp_path: Path, open_page: Open) -> None:
    page = ready(open_page(write(many_steps(10_000), tmp_path)))
    assert page.locator("[role=treeitem]").count() < 150
    page.get_by_role("tree").focus()
    page.keyboard.press("Home")
    page.keyboard.press("End")
    assert selected(page) == "run --number 9999"
    until(lambda: page.evaluate(SELECTED_ROW_IS_IN_VIEW))
    page.keyboard.press("/")
    page.keyboard.type("number 77")
    page.locator(".count", has_text=" of ").wait_for()
    page.keyboard.press("Escape")
    page.keyboard.press("e")
    assert page.locator("[role=treeitem][aria-selected=true]").get_attribute("class") == "row selected failed"
    assert page.evaluate(TIME_OF_A_KEY) < 250
    assert page.locator(".lanes rect.bar").count() < 6000


#: Milliseconds that a move of the selection takes, of several the shortest.
TIME_OF_A_KEY = """() => {
  const tree = document.querySelector('[role=tree]');
  const times = [];
  for (let i = 0; i < 10; i += 1) {
    const start = performance.now();
    tree.dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowUp', bubbles: true }));
    times.push(performance.now() - start);
  }
  return Math.min(...times);
}"""


def test_trace_without_steps(tmp_path: Path, open_page: Open) -> None:
    page = open_page(write(Trace(TraceHeader("tests/test_nothing.py::test_nothing"), []), tmp_path))
    page.get_by_text("Nothing happened yet").wait_for()
    page.keyboard.press("e")
    page.keyboard.press("ArrowDown")


def test_steps_that_are_running_or_that_have_no_parent_are_shown(tmp_path: Path, open_page: Open) -> None:
    steps = [
        step("a", "command", "$ one", 0.0, status="running", duration_ms=None, parent="b"),
        step("b", "command", "$ two", 0.1, parent="a"),
        step("c", "command", "$ three", 0.2, parent="c"),
        step("d", "prompt", "agent: four", 0.3, parent="gone"),
    ]
    page = ready(open_page(write(Trace(TraceHeader("t"), steps), tmp_path)))
    assert sorted(rows(page)) == ["agent: four", "one", "three", "two"]
    assert "running" in row(page, "one").inner_text()


def test_long_pauses_are_compressed(tmp_path: Path, open_page: Open) -> None:
    steps = [step(f"s{i}", "request", f"GET /{i}", i * 0.1 + (3600 if i > 4 else 0)) for i in range(10)]
    page = ready(open_page(write(Trace(TraceHeader("t"), steps), tmp_path)))
    assert page.locator(".break").count() == 1
    assert (
        "1 h of pauses compressed" in page.locator(".legend").inner_text()
        or "60 min" in page.locator(".legend").inner_text()
    )
    first, last = page.locator(".bar").nth(0).bounding_box(), page.locator(".bar").nth(3).bounding_box()
    assert first
    assert last
    assert last["x"] - first["x"] > 200
    ticks = page.locator(".lanes text.tick").all_text_contents()
    assert "0 s" in ticks
    assert any(text.startswith("60:") for text in ticks), ticks  # after the pause, too


def test_output_that_was_cut_is_marked(tmp_path: Path, open_page: Open) -> None:
    detail = {
        "output": [[0.1, "first\n"], [0.2, "before after\n"]],
        "output_cut": {"after": 13, "characters": 12345},
        "exit_code": 0,
    }
    page = ready(open_page(write(Trace(TraceHeader("t"), [step("s", "command", "$ x", detail=detail)]), tmp_path)))
    lines = page.locator(".screen .line").all_inner_texts()
    assert [re.sub(r"^\d\.\d\d", "", line.replace("\n", "")) for line in lines] == [
        "first", "before ", "12,345 characters of output are not kept", "after",
    ]  # fmt: skip


def test_unused_stub_leads_to_its_nearest_miss(tmp_path: Path, open_page: Open) -> None:
    reason = "the command does not match the exact text 'make': 'all' is left over; the glob 'make*' would match"
    body = {"match": "make", "text": "x"}
    missed = {"command": "make all", "near_misses": ["stub stub_2: is of another program", f"stub stub_1: {reason}"]}
    steps = [
        step("s", "control", "commands stub", 0.0, controls=["stub_1"], detail={"operation": "x", "body": body}),
        step("c", "command", "$ make all", 0.1, detail=missed),
    ]
    page = ready(open_page(write(Trace(TraceHeader("t::t"), steps), tmp_path)))
    near = choose(page, "commands stub", "Matched").locator(".near")
    assert near.inner_text() == f"Nearest miss: $ make all: {reason}"
    near.get_by_role("button").click()
    assert selected(page) == "make all"
