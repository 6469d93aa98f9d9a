"""A trace as text: the timeline and the summary in Markdown."""

from __future__ import annotations

import re

import pytest
from trace_testing import NODE_ID, hostile_trace, many_steps, real_trace, step

from caged.emulator.trace.file import Trace, TraceHeader, UnusedControl
from caged.emulator.trace.outline import Outline, diff
from caged.emulator.trace.page import build_page
from caged.emulator.trace.summary import markdown, timeline
from caged.emulator.trace.text import duration, money, plain


@pytest.fixture(scope="module")
def trace() -> Trace:
    return real_trace()


def made(*steps, **header) -> Trace:
    return Trace(TraceHeader("tests/test_x.py::test_x", **header), list(steps))


def command(step_id="c", line="pytest -x", output="", start=0.0, exit_code=0, **more):
    detail = {"command": line, "source": "exec", "exit_code": exit_code, "output": [[0.01, output]] if output else []}
    status = "error" if exit_code else "ok"
    return step(step_id, "command", f"$ {line}", start, status=status, detail=detail, **more)


def test_timeline_of_a_failed_test_names_what_happened(trace):
    lines = timeline(trace)
    text = "\n".join(lines)
    assert len(lines) <= 40
    for part in (
        "$ sh run_tests.sh -> exit 1",
        "| ===== 1 failed, 1 passed in 0.61s =====",
        "claude-code: the sum is wrong, repair calc.py -> I changed add() so that it adds., $0.25",
        "  <- fault sandboxes.exec 503 times=1",
        "<- stub 'npm install*'",
        "clock advance",
        "destroyed",
        "never triggered: fault snapshots.create 500 (tests/test_checkout.py:14)",
        "nearest: POST /v1/sandboxes",
    ):
        assert part in text, part
    assert "\x1b" not in text


def test_timeline_marks_failed_steps_and_names_lines_of_the_test(trace):
    lines = timeline(trace)
    failed = [line for line in lines if re.match(r" *\d+\.\d{3} !", line)]
    assert any("$ sh run_tests.sh" in line and "(line " in line for line in failed)
    assert not any("sandboxes.create" in line for line in failed)


def test_timeline_shows_a_call_or_its_command_once(trace):
    lines = timeline(trace)
    assert not any("POST /v1/sandboxes" in line and "503" not in line and "nearest" not in line for line in lines)
    assert sum("npm install" in line and "$" in line for line in lines) == 1


@pytest.mark.parametrize("count", [1, 2, 3, 5, 12, 20, 40])
def test_timeline_has_no_more_lines_than_requested(trace, count):
    for one in (trace, many_steps(300), hostile_trace("a\nb\nc")):
        assert 1 <= len(timeline(one, count)) <= count


def test_timeline_that_is_short_keeps_errors_prompts_and_the_last_output(trace):
    text = "\n".join(timeline(trace, 14))
    assert "$ sh run_tests.sh -> exit 1" in text
    assert "1 failed, 1 passed" in text
    assert "claude-code:" in text
    assert "steps left out" in text
    assert "never triggered" in text


def test_timeline_counts_what_it_leaves_out():
    trace = many_steps(200)
    lines = timeline(trace, 30)
    left = sum(int(found[1]) for line in lines if (found := re.search(r"… (\d+) steps? left out", line)))
    shown = sum(bool(re.match(r" *\d+\.\d{3} ", line)) for line in lines)
    covered = sum(one.kind == "request" for one in trace.steps) - sum("GET " in line for line in lines)
    assert shown + left <= 200
    assert shown + left + covered >= 200


def test_timeline_joins_requests_that_repeat():
    steps = [step(f"s{i}", "request", "GET /v1/account", i / 10, detail={"status": 200}) for i in range(30)]
    assert timeline(made(*steps)) == ["   0.000   GET /v1/account -> 200  1.0 ms (x30)"]


def test_timeline_has_one_line_for_a_text_with_line_breaks_and_escapes():
    shown = timeline(
        made(command(line="echo \x1b[31mred\x1b[0m\nsecond\r\x07", output="\x1b[1mone\x1b[0m\r\ntwo\rTWO\n"))
    )
    assert shown[0].endswith("$ echo red second -> exit 0  1.0 ms")
    assert [line.strip() for line in shown[1:]] == ["| one", "| TWO"]


def test_timeline_names_sandboxes_where_there_are_two():
    first = command("a", sandbox="cage_1")
    assert "cage_1" not in timeline(made(first))[0]
    assert "[cage_1]" in timeline(made(first, command("b", start=1.0, sandbox="cage_2")))[0]


def test_timeline_says_what_did_not_end():
    assert "(did not end)" in timeline(made(step("s", "command", "$ sleep 9", status="running", duration_ms=None)))[0]


def test_timeline_of_no_steps_is_empty():
    assert timeline(made()) == []


def test_timeline_has_steps_whose_parents_are_a_circle_or_missing():
    steps = [
        step("a", parent="b", title="one"),
        step("b", parent="a", title="two"),
        step("c", parent="c", title="three"),
    ]
    text = "\n".join(timeline(made(*steps, step("d", parent="gone", title="four"))))
    assert all(name in text for name in ("one", "two", "three", "four"))


def test_timeline_of_steps_that_nest_deeply_ends():
    steps = [step(f"s{i}", "event", f"e{i}", i, parent=f"s{i - 1}") for i in range(2000)]
    assert len(timeline(made(*steps))) == 40


def test_markdown_has_what_a_reader_needs(trace):
    text = markdown(trace)
    for part in (
        "# FAILED: `tests/test_checkout.py::test_agent_repairs_the_sum`",
        "AssertionError: collected 2 items",
        "assert result.exit_code == 0, result.output",
        "## Set up, never triggered\n\n- `fault snapshots.create 500`, added at `tests/test_checkout.py:14`",
        "## Last command\n\n`sh run_tests.sh` -> exit 1",
        "===== 1 failed, 1 passed in 0.61s =====",
        "## Prompt before it",
        "the sum is wrong, repair calc.py",
        "I changed add() so that it adds.",
        "-    return a - b\n+    return a + b + 1",
        "## Timeline",
    ):
        assert part in text, part
    assert text.splitlines()[0] == f"# FAILED: `{NODE_ID}`"  # a code span needs no escapes
    assert text.count("+    return a + b + 1") == 1  # the prompt and the command that it was in have the same change
    assert len(text) < 10_000
    assert "\x1b" not in text


def test_markdown_is_bounded():
    long = "x" * 1_000_000
    changes = [{"path": f"f{i}", "change": "changed", "before": "", "after": "line\n" * 5000} for i in range(50)]
    steps = [command(line=long, output=f"{long}\n" * 3)]
    steps[0].detail["changes"] = changes
    steps += [step("p", "prompt", "agent: x", detail={"agent": "a", "prompt": long, "reply": long})]
    text = markdown(made(*steps, outcome="failed", error=long))
    assert "lines more" in text
    assert "more changes are in the trace" in text
    assert len(text) < 60_000


def test_markdown_fences_hold_texts_with_fences():
    text = markdown(made(command(output="```\n# no heading\n````\n"), outcome="failed", error="``` `x`"))
    assert "`````\n```\n# no heading\n````\n`````" in text
    fences = [line for line in text.splitlines() if re.fullmatch(r"`{3,}\w*", line)]
    assert fences[0] == fences[1] == "````"


def test_markdown_of_a_passed_test_without_steps():
    text = markdown(made(outcome="passed", notes=["cut <b>"]))
    assert text.startswith("# PASSED: `tests/test_x.py::test_x`\n\n0 steps, 0 errors, 0 sandboxes\n")
    assert "- cut \\<b\\>" in text


def test_last_command_is_the_one_with_output_and_the_prompt_the_one_before_its_end():
    text = markdown(
        made(
            step("p1", "prompt", "a: early", 0.0, detail={"agent": "a", "prompt": "early", "reply": "r"}),
            command("c1", "make test", "it broke\n", 1.0, exit_code=2),
            command("c2", "true", "", 2.0),
            step("p2", "prompt", "a: late", 3.0, detail={"agent": "a", "prompt": "late", "reply": "r"}),
        )
    )
    assert "## Last command\n\n`make test` -> exit 2, 1.0 ms" in text
    assert "received:\n\n```\nearly\n```" in text


def test_last_command_that_failed_without_output_is_the_last_one():
    text = markdown(made(command("c1", "make test", "fine\n"), command("c2", "sleep 99", "", 1.0, exit_code=137)))
    assert "## Last command\n\n`sleep 99` -> exit 137" in text


def test_a_step_without_the_texts_of_its_kind_is_shown():
    dropped = {"dropped": "the steps of the account had more than 32 MiB of details"}
    kinds = "test call request command prompt file sandbox control alert event error unknown"
    steps = [step(f"s{i}", kind, f"{kind} x", i, detail=dropped) for i, kind in enumerate(kinds.split())]
    assert len(timeline(made(*steps))) == 12
    assert "# UNKNOWN" in markdown(made(*steps))


@pytest.mark.parametrize("value", [None, 1, "text", [], [1], [[1]], [["a", "b"]], {"a": 1}, [None]])
def test_details_of_another_form_do_not_raise(value):
    names = ("output", "changes", "near_misses", "body", "source", "exit_code", "error", "cost_usd", "reply", "code")
    steps = [step(f"s{k}", k, detail=dict.fromkeys(names, value)) for k in ("command", "prompt", "call", "control")]
    trace = made(*steps, error_source=value if isinstance(value, dict) else None)
    assert timeline(trace)
    assert markdown(trace)


@pytest.mark.parametrize(
    ("change", "lines"),
    [
        ({"change": "added", "after": "a\n"}, ["@@ -0,0 +1 @@", "+a"]),
        ({"change": "removed", "before": "a\n"}, ["@@ -1 +0,0 @@", "-a"]),
        ({"change": "changed", "before": "a\n", "after": "b\n"}, ["@@ -1 +1 @@", "-a", "+b"]),
        ({"change": "changed", "after": "b\n", "note": "too large"}, []),
        ({"change": "added", "note": "is not text"}, []),
        ({"change": "removed", "note": "is not text"}, []),
    ],
)
def test_diff_needs_the_texts_of_the_change(change, lines):
    assert diff(change) == lines


def test_unused_controls_are_bounded():
    unused = [UnusedControl(f"fault_{i}", f"fault {i}", "t.py:1", ["a", "b", "c", "d"]) for i in range(50)]
    lines = timeline(made(command(), unused=unused))
    assert len(lines) <= 40
    assert "$ pytest -x" in lines[0]
    assert "never triggered: fault 0 (t.py:1)" in lines


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b]0;never ended\nnext", "\nnext"),
        ("10%\r20%\r100%\n", "100%\n"),
        ("long line\rLONG", "LONG line"),
        ("a\r\nb", "a\nb"),
        ("bell\x07 null\x00 c1\x9b", "bell null c1"),
        ("\u202eabc\u2066", "abc"),
        ("\ud800", "?"),
        ("tab\tand ünïcödé ✓", "tab\tand ünïcödé ✓"),
    ],
)
def test_plain_text_is_what_a_terminal_would_show(text, shown):
    assert plain(text) == shown


def test_durations_and_amounts():
    found = [duration(ms) for ms in (0.04, 9.94, 41.2, 999.6, 1840, 12_340, 99_600, 185_000, 3_600_000, 5_400_000)]
    assert found == [
        "0.0 ms",
        "9.9 ms",
        "41 ms",
        "1.00 s",
        "1.84 s",
        "12.3 s",
        "1 min 40 s",
        "3 min 5 s",
        "1 h",
        "1 h 30 min",
    ]
    assert [money(x) for x in (0, 0.25, 12.5, 0.0123, 0.00004)] == ["$0.00", "$0.25", "$12.50", "$0.0123", "<$0.0001"]


def test_line_of_the_timeline_is_cut_before_its_duration():
    error = "CagedTimeoutError: " + "x" * 200
    detail = {"call": "sandboxes.exec", "error": error, "source": {"path": "t.py", "line": 53, "code": []}}
    (line,) = timeline(made(step("c", "call", "sandboxes.exec " + "y" * 200, status="error", detail=detail)))
    assert line.endswith("…  (line 53)  1.0 ms")
    assert len(line) <= 140


def test_refusal_is_named_with_its_reason():
    refused = step("r", title="POST /v1/x", status="error", detail={"status": 409, "error": "it is paused"})
    assert timeline(made(refused)) == ["   0.000 ! POST /v1/x -> 409 it is paused  1.0 ms"]
    gone = step(
        "r", title="POST /v1/x", status="error", detail={"status": 499, "error": "the client gave up after 0.8 s"}
    )
    assert timeline(made(gone)) == ["   0.000 ! POST /v1/x -> the client gave up after 0.8 s  1.0 ms"]


def test_failure_that_a_command_names_is_not_repeated_for_its_request_and_call():
    detail = {"error": "it is paused", "status": 200}
    steps = [
        step("a", "call", "sandboxes.exec", status="error", detail={"call": "sandboxes.exec", "error": "it is paused"}),
        step("b", title="POST /exec", parent="a", status="error", detail=detail),
        step("c", "command", "$ ls", parent="b", status="error", detail={"command": "ls", "error": "it is paused"}),
    ]
    assert timeline(made(*steps)) == ["   0.000 ! $ ls -> it is paused  1.0 ms"]


def test_first_step_is_the_deepest_failure_of_the_phase_that_failed():
    steps = [
        step("setup", "test", "setup", 0.0, status="error", duration_ms=2000.0),
        step("a", "call", "files.write", 0.1, parent="setup", status="error"),
        step("b", title="PUT /v1/content", start=0.2, parent="a", status="error", detail={"status": 500}),
        step("alert", "alert", "critical: x", 0.3, parent="setup", status="error"),
        step("teardown", "test", "teardown", 3.0),
        step("c", title="GET /v1/x", start=3.1, parent="teardown", status="error", detail={"status": 404}),
    ]
    assert Outline(made(*steps, phase="setup")).first.id == "b"
    assert Outline(made(*steps)).first.id == "c"
    assert Outline(made(steps[0], phase="setup")).first.id == "setup"
    ok = command("d", output="x", start=0.5)
    assert Outline(made(ok)).first.id == "d"


def test_what_happens_after_its_cause_stands_where_it_happened():
    steps = [
        step("call", "test", "call", 0.0, duration_ms=5000.0),
        step("tick", "control", "clock tick", 0.1, parent="call", duration_ms=10.0),
        step("in", "sandbox", "paused", 0.105, parent="tick"),
        step("exec", "call", "sandboxes.exec", 0.2, parent="call"),
        step("late", "sandbox", "snapshot completed", 0.3, parent="tick"),
    ]
    outline = Outline(made(*steps))
    assert [one.id for one, _depth in outline.walk()] == ["call", "tick", "in", "exec", "late"]
    assert outline.parent(steps[4]).id == "call"


def interrupted(title: str, action: str, cause: str, *later):
    """A trace of a sandbox that was interrupted before its last command."""
    meta = {"spent_usd": "0.7500", "budget_usd": "0.5000"}
    detail = {"event": "lifecycle", "session": "", "data": {"action": action, **({"cause": cause} if cause else {})}}
    refusal = {"command": "make", "source": "exec", "error": "sandbox cage_1 is paused, not running; resume it first"}
    return made(
        step("a", "alert", "critical: Budget", 1.10, sandbox="cage_1", status="error", detail={"meta": meta}),
        step("p", "sandbox", title, 1.12, sandbox="cage_1", detail=detail),
        *later,
        step("c", "command", "$ make", 1.3, sandbox="cage_1", status="error", detail=refusal),
        start=1.0,
        outcome="failed",
        error_summary="assert False",
    )


def event(action: str, start: float, sandbox: str = "cage_1"):
    return step(f"e{start}", "sandbox", action, start, sandbox=sandbox, detail={"data": {"action": action}})


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (("paused: budget used up", "pause", "budget"), "paused at 0.120 s: budget used up ($0.75 of $0.50)"),
        (("destroyed", "destroy", ""), "destroyed at 0.120 s"),
        (("paused", "pause", ""), "paused at 0.120 s"),
        (("paused", "pause", "", event("snapshot", 1.2), event("resume", 1.25, "cage_2")), "paused at 0.120 s"),
    ],
)
def test_refused_command_has_the_cause_in_the_summary_and_the_page(given, expected):
    trace = interrupted(*given)
    text = build_page(trace)
    assert f"Cause: the sandbox was {expected}" in markdown(trace)
    assert re.search(rf'Cause: <a href="#step-p" data-step="p">{re.escape(expected)}</a>', text)


def test_command_that_failed_in_a_sandbox_that_ran_has_no_cause():
    resumed = interrupted("paused", "pause", "", event("resume", 1.2))
    other = interrupted("paused", "pause", "")
    other.steps[-1].sandbox = "cage_2"
    ran = interrupted("paused", "pause", "")
    ran.steps[-1].detail["exit_code"] = 1
    for trace in (resumed, other, ran):
        assert "Cause: " not in markdown(trace)
        assert 'class="cause"' not in build_page(trace)


def test_operations_that_were_requested_instead_of_that_of_a_fault_are_links_to_their_calls():
    text = "requested instead: socket_ticket (of sandboxes.stream), files.write; sandboxes.exec was requested once"
    unused = UnusedControl("fault_1", "fault sandboxes.exec 503", "t.py:1", [text])
    trace = made(
        step("f", "control", "faults add", 0.1, controls=["fault_1"]),
        step("k", "call", "sandboxes.stream", 0.2, detail={"call": "sandboxes.stream"}),
        step("r", "request", "POST /v1/auth/socket-ticket", 0.2, parent="k", detail={"operation": "socket_ticket"}),
        unused=[unused],
    )
    page = build_page(trace)
    assert "nearest: " not in page
    link = '<a href="#step-k" data-step="k">socket_ticket (of sandboxes.stream)</a>'
    assert f"requested instead: {link}, files.write; sandboxes.exec" in page
    label, rest = text.split(": ", 1)
    assert f"- {label}: `{rest}`" in markdown(trace)
    assert f"    {text}" in timeline(trace)
