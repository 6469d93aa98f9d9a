"""The files of traces: directories, modes, earlier files, and failures while they are written."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import trace_runs
from trace_runs import CACHED, Run, matching, only

from caged.pytest_plugin._trace_files import MARKER

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


def test_an_interrupted_test_has_a_trace_and_leaves_nothing(tmp_path: Path, running: Any, interrupt_suite: Any) -> None:
    seconds = f"4321.{os.getpid()}"
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_long.py").write_text(
        "def test_long(caged, caged_sandbox):\n"
        f"    caged.sandboxes.exec(caged_sandbox.id, 'echo begun; sleep {seconds}; true')\n"
    )
    output = interrupt_suite(tmp_path, lambda: running(f"sleep {seconds} ") != [])
    assert running(f"sleep {seconds}") == []
    assert list(tmp_path.glob("caged*")) == []
    run = Run(tmp_path, pytest.ExitCode.INTERRUPTED, output)
    trace = run.trace("test_long")
    assert (trace.header.outcome, trace.header.error_summary) == ("unknown", "KeyboardInterrupt")
    assert trace.header.notes == ["The run was interrupted during this test."]
    assert only(trace, kind="command").status != "ok"
    assert only(trace, kind="call", title="sandboxes.exec").detail["error"] == "it was interrupted"
    assert str(CACHED) in output.partition("caged: traces of failed tests")[2]
