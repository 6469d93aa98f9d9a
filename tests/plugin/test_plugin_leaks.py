"""What a test leaves open, by its name."""

from __future__ import annotations

from typing import Any

import pytest

LEAKS = """
    import asyncio
    import pytest

    @pytest.fixture
    def tidy(caged):
        box = caged.sandboxes.create()
        yield box
        caged.sandboxes.destroy(box.id)

    def test_tidy(caged, tidy, caged_sandbox):
        with caged.sandboxes.stream(caged_sandbox.id, "sleep 60"):
            pass
        caged.snapshots.delete(caged.snapshots.wait(caged.snapshots.create(tidy.id).id, timeout=20).id)
        caged.sandboxes.pause(caged_sandbox.id)  # makes a snapshot automatically

    def test_sandbox(caged):
        print("left:", caged.sandboxes.create().id)

    def test_snapshot(caged, caged_sandbox):
        print("left:", caged.snapshots.create(caged_sandbox.id).id)

    def test_that_fails(caged):
        caged.sandboxes.create()
        assert 0
"""
SOCKETS = """
    import asyncio

    def test_stream(caged, caged_sandbox):
        open_ones.append(caged.sandboxes.stream(caged_sandbox.id, "sleep 60").__enter__())

    def test_mcp(async_caged, caged_sandbox):
        loop = asyncio.new_event_loop()
        open_ones.append((loop, loop.run_until_complete(async_caged.sandboxes.mcp(caged_sandbox.id))))

    open_ones = []

    def test_close_them():
        open_ones[0].close()
        loop, mcp = open_ones[1]
        loop.run_until_complete(mcp.close())
        loop.close()
"""


def left(result: pytest.RunResult) -> list[str]:
    return [line.split()[1] for line in result.outlines if line.startswith("left: ")]


def test_a_warning_lists_what_is_left_by_test(run_suite) -> None:
    result = run_suite(LEAKS, "--caged-leaks=warn", "-n2")
    result.assert_outcomes(passed=3, failed=1)
    sandbox, snapshot = sorted(left(result))
    result.stdout.fnmatch_lines(["-* caged: left open -*"])
    text = result.stdout.str()
    assert f"::test_sandbox:\n  sandbox {sandbox} (running)\n" in text
    assert f"::test_snapshot:\n  snapshot {snapshot} of cage_" in text
    assert "::test_tidy:" not in text
    assert "::test_that_fails:" not in text


def test_an_error_fails_the_test_by_name(run_suite, monkeypatch) -> None:
    monkeypatch.setenv("CAGED_LEAKS", "error")
    result = run_suite(LEAKS)
    result.assert_outcomes(passed=3, failed=1, errors=2)
    result.stdout.fnmatch_lines(["ERROR *::test_sandbox*", "ERROR *::test_snapshot*"])
    result.stdout.fnmatch_lines(["*::test_sandbox left open:", "  sandbox cage_* (running)"])


def test_nothing_is_said_by_default(run_suite) -> None:
    result = run_suite(LEAKS, "-k", "test_sandbox or test_snapshot")
    result.assert_outcomes(passed=2, deselected=2)
    result.stdout.no_fnmatch_line("*left open*")


def test_open_sockets_are_listed(run_suite) -> None:
    """Takes 2 s: sockets that may be closing are given a second, in each of two tests."""
    result = run_suite(SOCKETS, "--caged-leaks=warn")
    result.assert_outcomes(passed=3)
    text = result.stdout.str()
    assert "::test_stream:\n  stream socket into cage_" in text
    assert "::test_mcp:\n  mcp socket into cage_" in text


def test_live_runs_report_sandboxes_and_snapshots_too(run_suite, live: Any) -> None:
    result = run_suite(LEAKS, "--caged-leaks=warn", *live)
    result.assert_outcomes(passed=3, failed=1)
    sandbox, snapshot = sorted(left(result))
    text = result.stdout.str()
    assert f"::test_sandbox:\n  sandbox {sandbox}\n" in text
    assert f"::test_snapshot:\n  snapshot {snapshot}\n" in text
    assert "::test_tidy:" not in text
