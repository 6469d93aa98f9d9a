"""Ctrl-C in the middle of a test: everything is cleaned up before pytest ends."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from caged import Caged


@pytest.fixture
def seconds() -> str:
    """How long the exec sleeps: a number that no other test has, to be found by in the process table."""
    return f"7654.{os.getpid()}"


@pytest.fixture
def interrupted(
    pytester: pytest.Pytester, running: Any, interrupt_suite: Callable[..., str], seconds: str
) -> Callable[..., None]:
    """Run tests that are in the middle of an exec, press Ctrl-C once all workers are, and wait for the end."""
    pytester.makepyfile(
        f"""
        import pytest

        @pytest.mark.parametrize("time", range(2))
        def test_long(caged, caged_sandbox, time):
            caged.files.write(caged_sandbox.id, "left.txt", "x")
            caged.sandboxes.exec(caged_sandbox.id, "sleep {seconds}; true")
        """
    )

    def run(workers: int, *options: str) -> None:
        sleep = f"sleep {seconds} "  # with the end of its argument, so the shell that runs it does not count
        output = interrupt_suite(
            pytester.path, lambda: running(sleep).count(sleep) == max(1, workers), f"-n{workers}", *options
        )
        assert "KeyboardInterrupt" in output

    return run


# Without workers: test_plugin_trace_files.py::test_an_interrupted_test_has_a_trace_and_leaves_nothing.
def test_ctrl_c_in_the_middle_of_an_exec_leaves_nothing(
    interrupted: Any, running: Any, eventually: Any, seconds: str, tmp_path: Path
) -> None:
    interrupted(2)
    eventually(lambda: running(f"sleep {seconds}") == [], "the processes of the sandboxes to be gone")
    assert list(tmp_path.glob("caged*")) == []


@pytest.mark.parametrize("workers", [0, 2])
def test_ctrl_c_in_a_live_run_destroys_what_the_tests_created(
    interrupted: Any, api: Caged, live: tuple[str, ...], workers: int
) -> None:
    owned = api.sandboxes.create()
    interrupted(workers, *live)
    assert [sandbox.id for sandbox in api.sandboxes.list()] == [owned.id]
