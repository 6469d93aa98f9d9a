"""`caged_emulator_only` and `caged_live_only`; `--strict-markers` is on, so all markers are registered."""

from __future__ import annotations

import pytest

SUITE = """
    import pytest

    @pytest.mark.caged_emulator_only
    def test_emulator(): pass

    @pytest.mark.caged_live_only
    class TestLive:
        def test_live(self): pass

    @pytest.mark.caged(template="python")  # some tests of the class may use caged_sandbox
    class TestAll:
        def test_everywhere(self): pass

    def test_caged_live_only(): pass  # a name, and no marker
"""


@pytest.mark.parametrize(
    ("target", "skipped", "reason"),
    [
        ("emulator", "TestLive::test_live", "caged_live_only: needs the real API, and * target is emulator"),
        ("live", "test_emulator", "caged_emulator_only: needs the emulator, and * target is live"),
    ],
)
def test_only_markers_skip_with_a_reason_also_without_any_fixture(run_suite, target, skipped, reason) -> None:
    result = run_suite(SUITE, f"--caged-target={target}", "-v")
    result.assert_outcomes(passed=3, skipped=1)
    result.stdout.fnmatch_lines([f"*::{skipped} SKIPPED*", f"SKIPPED * {reason}"])


def test_only_marker_works_on_a_whole_module(run_suite) -> None:
    result = run_suite(
        """
        import pytest
        pytestmark = pytest.mark.caged_live_only
        def test_a(): pass
        def test_b(caged): pass
        """
    )
    result.assert_outcomes(skipped=2)


def test_only_marker_added_by_a_conftest_counts(run_suite, pytester) -> None:
    pytester.makeconftest(
        """
        import pytest
        def pytest_collection_modifyitems(items):
            for item in items:
                item.add_marker("caged_live_only")
        """
    )
    run_suite("def test_a(): pass").assert_outcomes(skipped=1)
