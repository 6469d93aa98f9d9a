"""Which isolation the sandboxes had: the line at the end of a run, and tests that need strong ones."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from levels import need

USES = "def test_level(caged_emulator): print('level:', caged_emulator.emulator.isolation)"
NEEDS = """
    import pytest

    @pytest.mark.caged_needs("namespace")
    def test_strong(caged_sandbox, caged):
        assert caged.sandboxes.exec(caged_sandbox.id, "test -d /w''orkspace").ok

    @pytest.mark.caged_needs("namespace")
    def test_strong_without_fixture(): pass

    @pytest.mark.caged_needs("process")
    def test_any(caged_sandbox): pass

    def test_caged_needs(): pass  # a name, and no marker
"""
# A kernel that refuses namespaces, as tests/tools/refusing.py makes it, for pytest's whole process.
REFUSED = "this container may not create namespaces (seccomp)"


@pytest.fixture
def suite_isolation() -> None:
    """The plugin's default."""


@pytest.fixture
def refusing() -> list[str]:
    """The words before a command that takes the right to make namespaces away from it."""
    need("namespace")
    if os.uname().machine not in ("x86_64", "aarch64"):
        pytest.skip("the seccomp filter is written for x86_64 and aarch64")
    return [sys.executable, str(Path(__file__).parents[1] / "tools" / "refusing.py"), "namespaces"]


def test_the_summary_names_the_level_in_use(run_suite) -> None:
    result = run_suite(USES)
    (level,) = (line.split()[1] for line in result.outlines if line.startswith("level:"))
    result.stdout.fnmatch_lines([f"caged: sandboxes had {level} isolation*"])


def test_the_summary_says_nothing_when_no_emulator_ran(run_suite) -> None:
    run_suite("def test_nothing(): pass").stdout.no_fnmatch_line("caged: sandboxes had*")


def test_the_summary_of_xdist_workers_is_one_line(run_suite) -> None:
    result = run_suite(USES, "-n2", "--dist=each", "--caged-isolation=process")
    result.assert_outcomes(passed=2)
    said = [line for line in result.outlines if line.startswith("caged: sandboxes")]
    assert said == ["caged: sandboxes had process isolation"]


def test_a_test_that_needs_namespaces_runs_where_there_are(run_suite) -> None:
    need("namespace")
    run_suite(NEEDS).assert_outcomes(passed=4)


def test_the_summary_and_the_skipped_tests_of_a_degraded_run_say_why(run_suite, refusing: list[str]) -> None:
    result = run_suite(NEEDS, wrap=refusing)
    result.assert_outcomes(passed=2, skipped=2)
    expected = f"SKIPPED*caged_needs('namespace'): the emulator has process isolation. namespace: {REFUSED}*"
    result.stdout.fnmatch_lines([expected, expected])
    result.stdout.fnmatch_lines(
        [
            f"caged: sandboxes had process isolation only. namespace: {REFUSED}*To change that: docker run"
            " --security-opt*"
        ]
    )


def test_a_test_that_needs_namespaces_is_skipped_with_process_isolation(run_suite) -> None:
    result = run_suite(NEEDS, "--caged-isolation=process")
    result.assert_outcomes(passed=2, skipped=2)
    result.stdout.fnmatch_lines(["SKIPPED*the emulator has process isolation. isolation=process was requested"])


def test_bwrap_counts_as_namespace(run_suite) -> None:
    need("bwrap")
    run_suite(NEEDS, "--caged-isolation=bwrap").assert_outcomes(passed=4)


def test_live_run_satisfies_every_needed_level(run_suite) -> None:
    source = NEEDS.replace("(caged_sandbox, caged)", "()").replace("(caged_sandbox)", "()")
    source = source[: source.index("assert")] + "pass" + source[source.index("\n\n    @", source.index("assert")) :]
    run_suite(source, "--caged-target=live").assert_outcomes(passed=4)


def test_a_marker_that_cannot_be_understood_fails_its_test_alone(run_suite) -> None:
    cases = ["", "'bwrap'", "'namespace', 'process'", "level='namespace'"]
    tests = [
        f"@pytest.mark.caged_needs({arguments})\ndef test_{number}(): pass\n" for number, arguments in enumerate(cases)
    ]
    result = run_suite("import pytest\n" + "".join(tests) + "def test_sound(): pass\n")
    result.assert_outcomes(errors=len(cases), passed=1)
    for number in range(len(cases)):
        said = "caged_needs takes one level, 'namespace' or 'process', and was given "
        result.stdout.fnmatch_lines([f"*test_{number}: {said}*"])
