"""The trace of a test: which tests have one, what it holds, and who names its file."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree

import jsonschema_rs
import pytest
import trace_runs
from trace_runs import CACHED, Run, ancestors, matching, only
from trace_testing import step

from caged.emulator.trace.file import UnusedControl
from caged.emulator.trace.schema import schema
from caged.pytest_plugin._trace_files import MARKER, NAME_CHARACTERS
from caged.pytest_plugin._trace_header import described
from caged.pytest_plugin._trace_steps import _note_given_up

CONFTEST = """
    import pytest

    @pytest.fixture(scope="module")
    def team(caged_factory):
        with caged_factory.account("the team", allow_unused=True) as account:
            yield account
"""

APPLICATION = """
    from caged import Caged

    def application(sandbox):
        with Caged() as client:
            return client.sandboxes.exec(sandbox, "echo by the application")
"""

STEPS = """
    import asyncio

    import httpx
    import pytest
    from application import application

    def test_passes(caged, caged_sandbox): pass

    def test_fails(caged, caged_emulator, caged_sandbox):
        caged_emulator.faults.add("account.get", status=503)
        caged_emulator.commands.stub("npm tset", "no tests")
        caged_emulator.agent("claude").reply_to("fix it", "repaired", cost_usd=0.25)
        caged_emulator.spend(caged_sandbox, 0.5)
        application(caged_sandbox.id)
        caged.sandboxes.exec(caged_sandbox.id, "echo one > one.txt; exit 3")
        assert list(caged.sandboxes.stream(caged_sandbox.id, "echo streamed")) == ["streamed\\n"]
        httpx.get(f"{caged_emulator.base_url}/v1/account", headers={"Authorization": "Bearer nothing"}, trust_env=False)
        caged.sandboxes.destroy(caged_sandbox.id)
        assert "the end" == "of it"

    def test_bound(caged):
        with caged.sandboxes.open() as box:
            box.run("echo one; exit 3")
            box.write("a.txt", "b")
            box.start("true").wait()
            assert 0

    def test_async(async_caged):
        async def main():
            box = await async_caged.sandboxes.create(template="minimal")
            async with await async_caged.sandboxes.exec_stream(box.id, "echo from a stream") as stream:
                await stream.text()
            await asyncio.gather(async_caged.account.get(), async_caged.sandboxes.list())
            await async_caged.sandboxes.get("cage_nope")

        asyncio.run(main())

    def test_other_accounts(caged, caged_emulator, team):
        with caged_emulator.emulator.account("second") as second, second.client() as client:
            client.sandboxes.create()
        team.client().sandboxes.create()
        assert 0

    def test_of_the_team(team):
        team.client().account.get()
        assert 0

    @pytest.fixture
    def broken_setup(caged_emulator):
        caged_emulator.client().account.get()
        raise ValueError("in setup")

    def test_setup(broken_setup): pass

    @pytest.fixture
    def broken_teardown(caged_emulator):
        client = caged_emulator.client()
        yield
        client.sandboxes.list()
        raise ValueError("in teardown")

    def test_teardown(broken_teardown): pass

    def test_call_and_teardown(broken_teardown): assert 0

    def test_skipped(caged):
        caged.account.get()
        pytest.skip("not now")

    @pytest.mark.xfail(reason="known")
    def test_xfailed(caged):
        caged.account.get()
        assert 0

    def test_without_a_fixture(): assert 0

    @pytest.mark.parametrize("what", ["a/b c", "..", "é|<>", "x" * 300])
    def test_names(caged, what): assert not what

    def test_that_stops_the_emulator(caged, caged_emulator):
        caged.account.get()
        caged_emulator.emulator.stop()
        assert 0
"""

FAILED = {
    "test_fails": "failed",
    "test_bound": "failed",
    "test_async": "failed",
    "test_other_accounts": "failed",
    "test_of_the_team": "failed",
    "test_setup": "error",
    "test_teardown": "error",
    "test_call_and_teardown": "failed",
    "test_that_stops_the_emulator": "failed",
    "test_fails_too": "failed",
}


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of everything above, with two workers and all reports."""
    directory = tmp_path_factory.mktemp("steps")
    files = {
        "conftest.py": CONFTEST,
        "application.py": APPLICATION,
        "test_steps.py": STEPS,
        "one/test_same.py": "def test_fails_too(caged): caged.account.get()\n",
        "two/test_same.py": "def test_fails_too(caged): caged.account.get(); assert 0\n",
        "one/__init__.py": "",
        "two/__init__.py": "",
    }
    files["one/test_same.py"] = files["two/test_same.py"].replace("fails_too", "same")
    files["two/test_same.py"] += "def test_same(caged): assert 0\n"
    options = ("-n2", "--dist=loadfile", "--junitxml=reports/junit.xml", "--html=reports/report.html")
    found = trace_runs.run(directory, files, *options, env={"GITHUB_STEP_SUMMARY": str(directory / "summary.md")})
    assert found.code == pytest.ExitCode.TESTS_FAILED
    assert "INTERNALERROR" not in found.output
    return found


# --- which tests, and the names of the files


def test_traces_are_of_the_failed_tests_that_use_a_fixture(steps: Run) -> None:
    found = {}
    for trace in steps.traces().values():
        found.setdefault(trace.header.title.partition("::")[2].partition("[")[0], trace.header.outcome)
    assert found == {**FAILED, "test_names": "failed", "test_same": "failed"}
    assert len(steps.traces()) == len(FAILED) + 4 + 2


def test_names_of_files_are_safe_short_and_unique(steps: Run) -> None:
    names = sorted(path.name for path in (steps.directory / CACHED).iterdir())
    traces = steps.traces()
    assert names == sorted([MARKER, *(f"{name}{suffix}" for name in traces for suffix in (".html", ".jsonl"))])
    for name in traces:
        assert len(name) <= NAME_CHARACTERS + 9
        assert set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")
        assert name.startswith("test_") or "x" * 50 in name
    assert sum(name.startswith("test_same-test_same-") for name in traces) == 2


# --- what it holds


def test_header_says_what_failed_and_where(steps: Run) -> None:
    header = steps.trace("test_fails").header
    assert header.title == "test_steps.py::test_fails"
    assert (header.outcome, header.phase, header.target) == ("failed", "call", "emulator")
    assert header.error_summary.startswith("AssertionError: assert 'the end' == 'of it'")
    assert "def test_fails(caged" in header.error
    assert header.error_source is not None
    assert header.error_source["path"] == "test_steps.py"
    line = header.error_source["line"]
    assert [line, '    assert "the end" == "of it"'] in header.error_source["code"]
    assert header.isolation in ("namespace", "bwrap", "process")
    assert header.cost_usd == 0.5
    assert header.duration_ms > 0
    assert header.version
    assert list(header.accounts.values()) == ["test_fails"]


def test_header_names_unused_controls_with_their_line_and_what_came_near(steps: Run) -> None:
    header = steps.trace("test_fails").header
    fault, stub, reply = header.unused
    assert fault.described == "fault account.get 503"
    (nearest,) = fault.nearest
    assert re.match(r"requested instead: sandboxes\.exec, socket_ticket( \(of [\w.]+\))?, sandboxes\.terminal", nearest)
    assert stub.described == "stub 'npm tset' 'no tests'" or stub.described.startswith("stub 'npm tset'")
    assert stub.nearest[0].startswith("echo ")
    assert reply.nearest == ["no prompt came"]
    source = (steps.directory / "test_steps.py").read_text().splitlines()
    for control, text in ((fault, 'faults.add("account.get"'), (stub, "npm tset"), (reply, "reply_to")):
        path, line = control.source.split(":")
        assert path == "test_steps.py"
        assert text in source[int(line) - 1]


def test_command_is_below_its_request_the_call_and_the_phase(steps: Run) -> None:
    trace = steps.trace("test_fails")
    command = only(trace, kind="command", title="echo one")
    request, call, phase = ancestors(trace, command)
    assert (request.kind, request.title) == ("request", f"POST /v1/sandboxes/{command.sandbox}/exec")
    assert (call.kind, call.title, call.sandbox) == ("call", f"sandboxes.exec {command.sandbox}", command.sandbox)
    assert (phase.kind, phase.title, phase.detail) == ("test", "call", {"phase": "call", "outcome": "failed"})
    assert phase.start <= call.start <= request.start <= command.start
    source = call.detail["source"]
    assert source["path"] == "test_steps.py"
    assert dict(source["code"])[source["line"]].strip().startswith("caged.sandboxes.exec(caged_sandbox.id, ")
    assert [change["path"] for change in command.detail["changes"]] == ["/workspace/one.txt"]
    assert {step.test for step in trace.steps} == {"test_steps.py::test_fails"}


def test_call_of_the_application_has_the_line_of_the_test(steps: Run) -> None:
    trace = steps.trace("test_fails")
    call = ancestors(trace, only(trace, kind="command", title="by the application"))[1]
    assert dict(call.detail["source"]["code"])[call.detail["source"]["line"]].strip() == "application(caged_sandbox.id)"


def test_stream_is_one_call_with_its_ticket_and_its_command(steps: Run) -> None:
    trace = steps.trace("test_fails")
    call = only(trace, kind="call", title="sandboxes.stream")
    below = [step for step in trace.steps if call in ancestors(trace, step)]
    assert [step.title for step in below if step.kind == "request"] == [
        "POST /v1/auth/socket-ticket",
        f"GET /v1/sandboxes/{call.sandbox}/terminal",
    ]
    assert [step.title for step in below if step.kind == "command"] == ["$ echo streamed"]


def test_request_without_the_sdk_is_below_the_phase(steps: Run) -> None:
    trace = steps.trace("test_fails")
    request = only(trace, kind="request", status="error", title="GET /v1/account")
    assert [step.title for step in ancestors(trace, request)] == ["call"]
    assert matching(trace, kind="sandbox", title="destroyed"), "of a sandbox that the test has destroyed"


def test_phases_are_steps(steps: Run) -> None:
    trace = steps.trace("test_call_and_teardown")
    phases = [(step.title, step.detail["outcome"], step.status) for step in matching(trace, kind="test")]
    assert phases == [("setup", "passed", "ok"), ("call", "failed", "error"), ("teardown", "failed", "error")]
    assert trace.header.notes == ["The teardown failed as well: ValueError: in teardown"]
    assert steps.trace("test_setup").header.phase == "setup"
    teardown = steps.trace("test_teardown")
    assert (teardown.header.phase, teardown.header.error_summary) == ("teardown", "ValueError: in teardown")
    request = only(teardown, kind="request", title="GET /v1/sandboxes")
    assert [step.title for step in ancestors(teardown, request)] == ["sandboxes.list", "teardown"]


def test_calls_and_commands_of_a_bound_sandbox_are_those_of_the_test(steps: Run) -> None:
    trace = steps.trace("test_bound")
    calls = [step.detail["call"] for step in matching(trace, kind="call")]
    assert list(dict.fromkeys(calls)) == [
        "sandboxes.open",
        "box.run",
        "box.write",
        "box.start",
        "process.wait",
        "box.destroy",
    ]
    command = only(trace, kind="command", title="echo one")
    assert (command.title, command.detail["exit_code"]) == ("$ echo one; exit 3", 3)
    assert "".join(text for _, text in command.detail["output"]) == "one\n"
    helpers = [step.title for step in matching(trace, kind="command") if step.detail["source"] == "helper"]
    assert helpers
    assert not [title for title in helpers if "caged-sdk" in title], helpers


def test_calls_of_async_clients_have_their_line(steps: Run) -> None:
    trace = steps.trace("test_async")
    lines = {
        step.detail["call"]: dict(step.detail["source"]["code"])[step.detail["source"]["line"]].strip()
        for step in matching(trace, kind="call")
    }
    assert lines["sandboxes.create"].startswith("box = await async_caged.sandboxes.create(")
    assert lines["sandboxes.exec_stream"].startswith("async with await async_caged.sandboxes.exec_stream(")
    assert lines["account.get"] == lines["sandboxes.list"] == "asyncio.run(main())", "gathered: tasks of their own"
    failed = only(trace, kind="call", status="error")
    assert failed.detail["error"].startswith("CagedNotFoundError: sandbox not found")
    (command,) = matching(trace, kind="command")
    assert [step.kind for step in ancestors(trace, command)] == ["request", "call", "test"]


def test_accounts_that_a_test_makes_and_those_of_wider_fixtures_are_part_of_it(steps: Run) -> None:
    trace = steps.trace("test_other_accounts")
    accounts = {step.account for step in matching(trace, kind="request", title="POST /v1/sandboxes")}
    assert len(accounts) == 2
    assert "the team" in trace.header.accounts.values()
    team = steps.trace("test_of_the_team")
    assert [step.title for step in matching(team, kind="request")] == ["GET /v1/account"], "nothing of earlier tests"
    assert list(team.header.accounts.values()) == ["the team"]


def test_trace_of_a_test_that_stops_the_emulator_has_its_calls(steps: Run) -> None:
    trace = steps.trace("test_that_stops_the_emulator")
    assert only(trace, kind="call").title == "account.get"
    assert trace.header.error_summary == "assert 0" or "assert 0" in trace.header.error_summary


def test_each_line_of_each_file_is_what_the_format_describes(steps: Run) -> None:
    validator = jsonschema_rs.Draft202012Validator(schema())
    for path in sorted((steps.directory / CACHED).glob("*.jsonl")):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            errors = [error.message[:300] for error in validator.iter_errors(json.loads(line))]
            assert errors == [], (path.name, number, line[:500])


def test_page_has_the_same_steps(steps: Run) -> None:
    for name, trace in steps.traces().items():
        page = (steps.directory / CACHED / f"{name}.html").read_text(encoding="utf-8")
        packed = json.loads(trace_runs.unpacked(page))
        assert [step["id"] for step in packed["steps"]] == [step.id for step in trace.steps]


# --- who names the file


def test_reports_and_the_end_of_the_run_name_the_file(steps: Run) -> None:
    for name, trace in steps.traces().items():
        shown = str(CACHED / f"{name}.html")
        assert f"trace: {shown}" in steps.output
        end = steps.output.partition("caged: traces of failed tests")[2]
        assert f"{trace.header.title}:\n  {shown}\n" in end


def test_junit_has_a_property_with_a_path_relative_to_it(steps: Run) -> None:
    xml = ElementTree.parse(steps.directory / "reports/junit.xml")
    found = {
        case.get("name"): prop.get("value")
        for case in xml.iter("testcase")
        for prop in case.iter("property")
        if prop.get("name") == "caged_trace"
    }
    assert set(FAILED) <= set(found)
    assert "test_passes" not in found
    for value in found.values():
        assert (steps.directory / "reports" / str(value)).is_file()


def test_html_report_links_the_page(steps: Run) -> None:
    report = (steps.directory / "reports/report.html").read_text(encoding="utf-8")
    for name in steps.traces():
        assert f"../{CACHED}/{name}.html" in report


def test_step_summary_of_github_is_a_table_of_the_failed_tests(steps: Run) -> None:
    lines = (steps.directory / "summary.md").read_text(encoding="utf-8").splitlines()
    rows = [line for line in lines if line.startswith("| ") and line.count(" | ") == 2]
    assert len(rows) == 1 + len(steps.traces())
    assert not any("run again" in row for row in rows)
    (row,) = [row for row in rows if "test\\_teardown " in row]
    assert "ValueError: in teardown" in row
    (row,) = [row for row in rows if "é" in row]
    assert "é\\|\\<\\>" in row


def test_requests_after_a_timed_out_call_say_that_the_client_gave_up() -> None:
    call = step("a", "call", "sandboxes.exec", 1.0, status="error", duration_ms=800.0)
    call.detail = {"error": "CagedTimeoutError: POST /x timed out after 0.8s: no answer"}
    gone = step("b", parent="a", start=1.0, duration_ms=850.0, detail={"status": 200})
    killed = step("c", "command", "$ x", 1.0, parent="b", status="error", detail={"error": "the sandbox was stopped"})
    before = step("d", parent="a", start=1.0, duration_ms=10.0, detail={"status": 503})
    _note_given_up([call], [gone, killed, before])
    assert (gone.status, gone.detail["error"]) == ("error", "the client gave up after 0.8 s")
    assert killed.detail["error"] == "killed: the client gave up after 0.8 s"
    assert "error" not in before.detail


def test_fault_that_no_request_matched_names_what_was_requested() -> None:
    unused = UnusedControl("fault_1", "fault", "t.py:1", ["no request matched"])
    earlier = step("a", start=1.0, detail={"operation": "sandboxes.exec"})
    added = step("b", "control", "faults add", 2.0, controls=["fault_1"])
    added.detail = {"body": {"operation": "sandboxes.exec", "status": 503}}
    later = step("c", start=3.0, detail={"operation": "sandboxes.terminal"})
    found = described(unused, [added, later])
    assert found.nearest == ["requested instead: sandboxes.terminal"]
    (text,) = described(unused, [earlier, added]).nearest
    assert text == "nothing was requested after it was added; sandboxes.exec was requested 1 time before it was added"
