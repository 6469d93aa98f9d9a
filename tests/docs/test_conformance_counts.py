"""How tests/conformance/conftest.py counts the tests of a framework's suite, and what it does not let pass."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

CONFTEST = Path(__file__).parents[1] / "conformance" / "conftest.py"
SUITE = """
import pytest
def test_passes(): pass
def test_fails(): assert 0
def test_is_skipped(): pytest.skip("no such thing")
@pytest.mark.parametrize("n", [1, 2])
def test_some(n): assert n == 1
"""
KNOWN = "test_fails: the framework's own\ntest_some[2]: it is not 1\n"


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makeconftest(CONFTEST.read_text("utf-8"))
    pytester.makepyfile(test_suite=SUITE)
    return pytester


def run(suite: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return suite.runpytest_inprocess("-p", "no:randomly", "-p", "no:caged", "-p", "no:cacheprovider", *arguments)


def test_tests_are_counted_with_their_reasons(suite: pytest.Pytester) -> None:
    (suite.path / "deviations.txt").write_text(KNOWN)
    result = run(suite, "--conformance-results", "results.json")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(
        [
            "passes 2 of 5; 1 skipped, 2 deviate, 0 failed",
            "skipped: test_is_skipped: no such thing",
            "deviates: test_fails: the framework's own",
            "deviates: test_some?2?: it is not 1",
        ]
    )
    figures = json.loads((suite.path / "results.json").read_text())
    assert (figures["passed"], figures["total"]) == (2, 5)
    assert figures["skipped"] == {"test_is_skipped": "no such thing"}
    assert figures["deviations"] == {"test_fails": "the framework's own", "test_some[2]": "it is not 1"}


def test_failure_that_is_not_listed_fails_the_run(suite: pytest.Pytester) -> None:
    (suite.path / "deviations.txt").write_text("test_fails: the framework's own\n")
    result = run(suite)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["passes 2 of 5; 1 skipped, 1 deviate, 1 failed"])


def test_listed_test_that_passes_fails_the_run(suite: pytest.Pytester) -> None:
    (suite.path / "deviations.txt").write_text(KNOWN + "test_passes: no longer true\n")
    assert run(suite).ret == pytest.ExitCode.TESTS_FAILED


def test_listed_test_that_does_not_exist_is_an_error(suite: pytest.Pytester) -> None:
    (suite.path / "deviations.txt").write_text(KNOWN + "test_gone: of an older version\n")
    result = run(suite)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*deviations.txt names tests that do not exist: test_gone"])
    assert run(suite, "-k", "passes").ret == pytest.ExitCode.OK


def test_own_backend_runs_the_tests_that_deviate(suite: pytest.Pytester) -> None:
    (suite.path / "deviations.txt").write_text(KNOWN)
    (suite.path / "test_suite.py").rename(suite.path / "own_backend.py")
    result = run(suite, "own_backend.py")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["passes 0 of 2; 0 skipped, 2 deviate, 0 failed"])
