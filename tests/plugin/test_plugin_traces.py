"""The trace of a test: which tests have one, what it holds, and who names its file."""

from __future__ import annotations

import json
import os
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import trace_runs
from trace_runs import CACHED, Run, ancestors, matching, only
from trace_testing import step

from caged import Caged
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
    validator = jsonschema.Draft202012Validator(schema())
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


# --- modes, directories, earlier files


SMALL = """
    import os, pytest

    def test_passes(caged): caged.account.get()

    def test_fails(caged, caged_emulator):
        caged.account.get()
        assert os.environ.get("PASS")

    @pytest.mark.skip(reason="never")
    def test_skipped(caged): pass
"""


def test_mode_directory_and_earlier_files(tmp_path: Path) -> None:
    mine = tmp_path / "artifacts/notes.html"
    mine.parent.mkdir()
    mine.write_text("mine")
    where = ("--caged-trace-dir=artifacts",)
    first = trace_runs.run(tmp_path, {"test_small.py": SMALL}, "--caged-trace=on", *where)
    titles = {trace.header.title: trace.header.outcome for trace in first.traces(Path("artifacts")).values()}
    assert titles == {"test_small.py::test_passes": "passed", "test_small.py::test_fails": "failed"}
    assert "caged: 1 traces of tests that did not fail are in artifacts" in first.output
    assert not (tmp_path / CACHED).exists()
    (tmp_path / "artifacts/link.html").symlink_to(mine)
    with (tmp_path / "artifacts" / MARKER).open("a") as marker:
        marker.write("notes.txt\nlink.html\n../test_small.py\n/etc/passwd\n")

    second = trace_runs.run(tmp_path, {}, *where, "--collect-only", "-q")
    assert len(second.traces(Path("artifacts"))) == 2, "nothing ran"

    third = trace_runs.run(tmp_path, {}, *where, env={"PASS": "1"})
    assert third.code == 0
    assert sorted(path.name for path in mine.parent.iterdir()) == ["link.html", "notes.html"]
    assert (tmp_path / "test_small.py").exists()

    fourth = trace_runs.run(tmp_path, {}, *where, "--caged-trace=off", "--lf")
    assert "- caged timeline -" in fourth.output
    assert "trace" not in fourth.output.partition("caged timeline")[2]
    assert fourth.traces(Path("artifacts")) == {}


def test_attempts_of_a_test_that_is_run_again_have_files_of_their_own(tmp_path: Path) -> None:
    source = """
        import pathlib

        def test_flaky(caged, caged_emulator):
            count = len(list(pathlib.Path.cwd().glob("ran*")))
            pathlib.Path(f"ran{count}").touch()
            caged.sandboxes.list()
            if count == 1:
                caged.account.get()
            assert count == 2
    """
    env = {"GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md")}
    run = trace_runs.run(tmp_path, {"test_flaky.py": source}, "--reruns=3", "--caged-leaks=error", env=env)
    assert run.code == 0, run.output
    assert run.output.count("test_flaky.py::test_flaky (passed when it was run again):") == 2
    rows = (tmp_path / "summary.md").read_text(encoding="utf-8").splitlines()
    assert sum("(passed when it was run again)" in row for row in rows) == 2
    traces = run.traces()
    first, second = sorted(traces, key=len)
    assert second == f"{first}-attempt2"
    assert [len(matching(traces[name], kind="call")) for name in (first, second)] == [1, 2]


def test_options_environment_and_ini_in_this_order(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    small = {"test_small.py": "def test_passes(caged): caged.account.get()\n"}
    ini = "[pytest]\ncaged_trace = on\ncaged_trace_dir = by_ini\n"

    def written(*options: str, **env: str) -> list[str]:
        trace_runs.run(tmp_path, small, "-c", "own.ini", *options, env=env)
        found = sorted(str(path.parent.relative_to(tmp_path)) for path in tmp_path.rglob("*.jsonl"))
        for path in tmp_path.rglob("*.jsonl"):
            path.unlink()
        return found

    (tmp_path / "own.ini").write_text(ini)
    assert written() == ["by_ini"]
    assert written(CAGED_TRACE_DIR="by_env") == ["by_env"]
    assert written("--caged-trace-dir", str(tmp_path / "by_option"), CAGED_TRACE_DIR="by_env") == ["by_option"]
    assert written(CAGED_TRACE="retain-on-failure") == []
    assert written("--caged-trace=on", CAGED_TRACE="off") == ["by_ini"]


@pytest.mark.parametrize(
    ("options", "env", "message"),
    [
        (["--caged-trace=always"], {}, "--caged-trace: invalid choice: 'always' (choose from *retain-on-failure"),
        (["--caged-report=long"], {}, "--caged-report: invalid choice: 'long' (choose from *short"),
        ([], {"CAGED_TRACE": "yes"}, "caged_trace 'yes', from CAGED_TRACE or the ini option caged_trace, is none of"),
        ([], {"CAGED_REPORT": "yes"}, "from CAGED_REPORT or the ini option caged_report, is none of short, full and"),
        (["--caged-trace=on", "-pno:cacheprovider"], {}, "pass --caged-trace-dir=DIRECTORY"),
    ],
)
def test_wrong_settings_are_usage_errors(run_suite, monkeypatch, options: list[str], env: Any, message: str) -> None:
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    result = run_suite("def test_a(): pass", *options, cache=True)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*{message}*"])


def test_without_a_cache_directory_there_is_a_timeline_and_no_file(run_suite, pytester) -> None:
    result = run_suite("def test_fails(caged):\n    caged.account.get()\n    assert 0")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["-* caged timeline -*", "*account.get*"])
    result.stdout.no_fnmatch_line("*trace*.html*")
    assert list(pytester.path.rglob("*.jsonl")) == []


# --- what goes wrong while it is written


REPLACED = """
    import pathlib, shutil

    def test_fails(caged):
        shutil.rmtree("traces", ignore_errors=True)
        pathlib.Path("traces").write_text("a file")
        assert 0

    def test_fails_next(caged): assert 0
"""
FULL = """
    import resource

    def test_fails(caged, request):
        def shrink():  # after the account is gone: as if the disk were full, for this process
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
        request.config.add_cleanup(lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1)))
        request.addfinalizer(shrink)
        assert 0
"""


@pytest.mark.parametrize(
    ("source", "directory"),
    [(SMALL, "/proc/traces"), (SMALL, "test_suite.py/traces"), (REPLACED, "traces"), (FULL, "traces")],
    ids=["read-only", "below a file", "replaced", "full"],
)
def test_a_failure_to_write_is_a_line_of_the_summary(tmp_path: Path, source: str, directory: str) -> None:
    run = trace_runs.run(tmp_path, {"test_suite.py": source}, f"--caged-trace-dir={directory}", "-pno:cacheprovider")
    assert run.code == pytest.ExitCode.TESTS_FAILED, run.output
    assert "INTERNALERROR" not in run.output
    assert "- caged: notes -" in run.output
    assert "its trace could not be written: " in run.output
    assert "- caged timeline -" in run.output
    assert "1 error" not in run.output
    if source is FULL:
        assert list((tmp_path / "traces").glob("*test_fails*")) == []
        assert list((tmp_path / "traces").glob(".*.new")) == []


@pytest.mark.parametrize("broken", ["page.build_page", "summary.timeline", "outline.describe"])
def test_an_error_of_the_trace_itself_is_a_line_of_the_summary(tmp_path: Path, broken: str) -> None:
    module, _dot, name = broken.partition(".")
    conftest = f"""
        import caged.emulator.trace.{module} as module
        import caged.pytest_plugin._trace_header as header

        def broken(*arguments): raise RuntimeError("a mistake")
        module.{name} = broken
        if hasattr(header, "{name}"):
            header.{name} = broken
    """
    source = """
        def test_fails(caged, caged_emulator):
            caged_emulator.faults.add("account.get", status=503)
            assert 0

        def test_passes(caged): pass
    """
    run = trace_runs.run(tmp_path, {"conftest.py": conftest, "test_suite.py": source})
    assert "1 failed, 1 passed" in run.output
    assert "INTERNALERROR" not in run.output
    assert "RuntimeError: a mistake" in run.output.partition("- caged: notes -")[2]


def test_an_interrupted_test_has_a_trace(tmp_path: Path, running: Any, interrupt_suite: Any) -> None:
    seconds = f"4321.{os.getpid()}"
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_long.py").write_text(
        "def test_long(caged, caged_sandbox):\n"
        f"    caged.sandboxes.exec(caged_sandbox.id, 'echo begun; sleep {seconds}; true')\n"
    )
    output = interrupt_suite(tmp_path, lambda: running(f"sleep {seconds} ") != [])
    run = Run(tmp_path, pytest.ExitCode.INTERRUPTED, output)
    trace = run.trace("test_long")
    assert (trace.header.outcome, trace.header.error_summary) == ("unknown", "KeyboardInterrupt")
    assert trace.header.notes == ["The run was interrupted during this test."]
    assert only(trace, kind="command").status != "ok"
    assert only(trace, kind="call", title="sandboxes.exec").detail["error"] == "it was interrupted"
    assert str(CACHED) in output.partition("caged: traces of failed tests")[2]


# --- other targets


def test_tests_on_a_shared_emulator_have_their_own_steps_only(tmp_path: Path) -> None:
    source = """
        import pytest

        @pytest.fixture
        def broken(caged):
            yield
            caged.account.get()
            raise ValueError("in teardown")

        @pytest.mark.parametrize("number", range(4))
        def test_fails(caged, caged_emulator, caged_sandbox, number):
            caged.sandboxes.exec(caged_sandbox.id, f"echo number {number}")
            with caged_emulator.emulator.account("second") as second, second.client() as client:
                client.sandboxes.list()
            assert 0

        def test_teardown(broken, caged_sandbox): pass
    """
    run = trace_runs.run(tmp_path, {"test_shared.py": source}, "-n2", "--caged-shared")
    for number in range(4):
        trace = run.trace(f"test_fails[{number}]")
        (command,) = matching(trace, kind="command")
        assert command.title == f"$ echo number {number}"
        assert [step.kind for step in ancestors(trace, command)] == ["request", "call", "test"]
        accounts = {step.account for step in matching(trace, kind="request")}
        assert len(accounts) == 2, "its own, and the one that it made and that is deleted"
    teardown = run.trace("test_teardown")
    assert [step.title for step in matching(teardown, kind="request")] == ["POST /v1/sandboxes", "GET /v1/account"]


def test_live_run_has_calls_and_requests_and_sends_no_header(
    tmp_path: Path, live: Any, api: Caged, account: Any
) -> None:
    source = """
        import httpx, os
        from caged import CagedError

        def test_fails(caged, caged_sandbox):
            caged.sandboxes.exec(caged_sandbox.id, "echo hello")
            for text in caged.sandboxes.stream(caged_sandbox.id, "echo streamed"): pass
            try:
                caged.sandboxes.get("cage_nope")
            except CagedError:
                pass
            assert 0
    """
    run = trace_runs.run(tmp_path, {"test_live.py": source}, *live)
    trace = run.trace("test_fails")
    assert trace.header.target == "live"
    assert any("$ echo hello (exit 0" in line for line in trace.header.log)
    calls = [step.detail["call"] for step in matching(trace, kind="call")]
    wanted = ["sandboxes.create", "sandboxes.exec", "sandboxes.stream", "sandboxes.get"]
    assert calls[:4] == wanted
    failed = only(trace, kind="request", title="GET /v1/sandboxes/cage_nope")
    assert (failed.detail["status"], failed.status) == (404, "error")
    assert [step.title for step in ancestors(trace, failed)] == ["sandboxes.get cage_nope", "call"]
    parents = {step.parent for step in account.journal.steps(kind="request")}
    assert parents == {""}, "the server got no traceparent"


def test_kept_sandboxes_are_named_in_the_header(tmp_path: Path) -> None:
    source = "def test_fails(caged, caged_sandbox): assert 0\n"
    run = trace_runs.run(tmp_path, {"test_kept.py": source}, "--caged-keep-failed")
    ((sandbox, archive),) = run.trace("test_fails").header.kept.items()
    assert f"caged-emulator shell {sandbox} --from {archive}" in run.output
    assert Path(archive).is_file()


# --- secrets


SECRETS = """
    import os, pytest
    from caged import Caged

    def secret(name):  # put together, so that the source does not have it
        return "-".join(["planted", name, "value", "0123456789"])

    def test_plants_secrets(caged, caged_emulator):
        env = {"TOKEN": secret("env"), "OTHER": secret("plain"), "ANTHROPIC_API_KEY": secret("promptenv")}
        repo = "https://user:" + secret("repo") + "@127.0.0.1:1/acme/calc"
        box = caged.sandboxes.create(agents=["claude-code"], env=env, secrets=["TOKEN"])
        try:
            caged.sandboxes.create(repo=repo, repo_token=secret("repotoken"))
        except Exception:
            pass
        key = caged.account.create_key("second").key
        caged_emulator.agent("claude").reply("the token is " + secret("env"), cost_usd=0.1)
        caged.sandboxes.exec(box.id, "echo $TOKEN; claude -p 'use " + secret("env") + "'")
        caged.sandboxes.exec(box.id, 'claude -p "my key is $ANTHROPIC_API_KEY"; env > env.txt; env')
        caged.sandboxes.exec(box.id, "echo " + key + " " + caged_emulator.emulator.admin_key)
        list(caged.sandboxes.stream(box.id, "echo $TOKEN"))
        list(caged.sandboxes.stream(box.id, "cat env.txt; cat " + secret("env")))
        try:
            caged.files.read(box.id, "/workspace/" + secret("env"))
        except Exception:
            pass
        with Caged(key, caged_emulator.base_url) as client:
            client.files.write(box.id, "/workspace/kept.txt", secret("env"))
        caged_emulator.commands.stub("never " + secret("env"), "x", optional=False)
        assert 0, "planted"

    def test_raises_a_secret(caged, caged_emulator):
        box = caged.sandboxes.create(env={"TOKEN": secret("env")})
        key = caged.account.create_key("third").key
        if os.environ.get("RAISES"):
            raise ValueError(f"{secret('env')} {caged_emulator.api_key} {key} {caged_emulator.emulator.admin_key}")

    def test_writes_what_must_not_be_found(caged, caged_emulator):
        pass
"""


#: A conftest.py that writes the spans of OpenTelemetry.
KEEPS_SPANS = """
    import json, os
    from pathlib import Path
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    kept = InMemorySpanExporter()

    def pytest_configure(config):
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(kept))
        trace.set_tracer_provider(provider)

    def pytest_unconfigure(config):
        spans = [json.loads(span.to_json()) for span in kept.get_finished_spans()]
        Path(str(config.rootpath), f"{os.getpid()}.spans.json").write_text(json.dumps(spans))
"""


def test_calls_have_the_spans_of_opentelemetry_where_the_tests_use_it(tmp_path: Path) -> None:
    source = """
        from opentelemetry import trace

        def test_fails(caged, caged_sandbox):
            with trace.get_tracer("test").start_as_current_span("above"):
                caged.files.write(caged_sandbox.id, "a.txt", "x")
                list(caged.sandboxes.stream(caged_sandbox.id, "echo hi"))
            assert 0
    """
    run = trace_runs.run(tmp_path, {"test_spans.py": source, "conftest.py": KEEPS_SPANS})
    trace = run.trace("test_fails")
    (file,) = tmp_path.glob("*.spans.json")
    spans = {one["context"]["span_id"][2:]: one for one in json.loads(file.read_text())}
    above = next(span_id for span_id, one in spans.items() if one["name"] == "above")
    made = [one for one in spans.values() if (one["parent_id"] or "")[2:] == above]
    assert [one["attributes"]["caged.operation"] for one in made] == ["files.write", "sandboxes.terminal"]
    for one in made:
        call = next(step for step in trace.steps if step.id == one["context"]["span_id"][2:])
        requests = [step for step in trace.steps if step.parent == call.id]
        assert (call.kind, {step.kind for step in requests}) == ("call", {"request"})
        found = {step.detail["trace_id"] for step in (call, *requests)}
        assert found == {one["context"]["trace_id"][2:]}


def test_each_test_is_a_trace_of_its_own(tmp_path: Path) -> None:
    source = """
        import pytest

        @pytest.mark.parametrize("number", [1, 2])
        def test_fails(caged, number):
            caged.account.get()
            caged.account.get()
            assert 0
    """
    run = trace_runs.run(tmp_path, {"test_two.py": source})
    ids = [{step.detail["trace_id"] for step in one.steps if step.kind == "call"} for one in run.traces().values()]
    assert [len(found) for found in ids] == [1, 1]
    assert ids[0] != ids[1]


@pytest.mark.parametrize("options", [("-n0",), ("-n2", "--caged-shared")])
def test_no_secret_is_in_any_artifact(tmp_path: Path, options: tuple[str, ...]) -> None:
    files = {"test_secrets.py": SECRETS, "conftest.py": KEEPS_SPANS}
    env = {"GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md")}
    run = trace_runs.run(tmp_path, files, "--junitxml=junit.xml", "--caged-report=full", "-rA", *options, env=env)
    assert run.trace("test_plants_secrets").header.error_summary.startswith("AssertionError: planted")
    artifacts = run.artifacts()
    for part in (".html", " as OTLP", " as Markdown", "junit.xml", "summary.md", ".spans.json"):
        assert any(name.endswith(part) for name in artifacts), part
    assert "AssertionError: planted" in artifacts["summary.md"]
    for name, text in artifacts.items():
        assert "planted-" not in text, name
        for prefix in ("caged_sk_", "caged_adm_", "caged_wst_"):
            following = {text[at + len(prefix)] for at in places(text, prefix)}
            assert following <= {"*"}, (name, prefix)


def test_no_secret_of_a_failure_is_in_the_files_of_its_trace(tmp_path: Path) -> None:
    run = trace_runs.run(tmp_path, {"test_secrets.py": SECRETS}, "-k", "raises", env={"RAISES": "1"})
    assert run.trace("test_raises_a_secret").header.error_summary.startswith("ValueError: *** caged_sk_***")
    for name, text in run.artifacts().items():
        if str(CACHED) in name:
            assert "planted-" not in text, name
            for prefix in ("caged_sk_", "caged_adm_"):
                assert {text[at + len(prefix)] for at in places(text, prefix)} <= {"*"}, (name, prefix)


def places(text: str, part: str) -> list[int]:
    """Where a part stands in a text, but for the end of the text."""
    found, at = [], text.find(part)
    while at >= 0:
        if at + len(part) < len(text):
            found.append(at)
        at = text.find(part, at + 1)
    return found


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
