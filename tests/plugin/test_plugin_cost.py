"""A suite that uses no fixture pays nothing; one that wants no plugin has none."""

from __future__ import annotations

import pytest

import caged.pytest_plugin


def test_suite_without_fixtures_imports_neither_sdk_nor_emulator(run_suite) -> None:
    result = run_suite(
        """
        import sys

        def test_imports():
            costly = {"httpx", "websockets", "starlette", "uvicorn", "pydantic", "asyncio", "caged.emulator"}
            assert "caged.pytest_plugin" in sys.modules
            assert costly.isdisjoint(sys.modules)
        """,
        "-p",
        "no:anyio",  # imports asyncio
        "-p",
        "no:xdist",
        new_interpreter=True,
    )
    result.assert_outcomes(passed=1)


def test_plugin_has_no_hook_that_runs_for_each_test() -> None:
    hooks = {name for name in vars(caged.pytest_plugin) if name.startswith("pytest_")}
    assert hooks == {
        "pytest_addoption",
        "pytest_collection_modifyitems",
        "pytest_configure",
        "pytest_configure_node",
        "pytest_report_header",
        "pytest_runtestloop",  # once in a run
        "pytest_terminal_summary",
        "pytest_testnodedown",
    }


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_plugin_can_be_turned_off(run_suite, workers: str) -> None:
    result = run_suite("def test_a(): pass\ndef test_b(caged): pass", "-p", "no:caged", workers)
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*fixture 'caged' not found"])
    result.stdout.no_fnmatch_line("caged: target=*")
