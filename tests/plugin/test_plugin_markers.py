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


# --- misspelt, or without effect

MISSPELT = """
    import pytest

    @pytest.mark.caged(templat="python")
    def test_option(caged_sandbox): pass

    @pytest.mark.caged(templat="python")
    def test_option_without_sandbox(): pass

    @pytest.mark.caged(memroy=1)
    class TestClass:
        def test_option_of_a_class(self): pass

    @pytest.mark.caged("python")
    def test_positional(): pass

    @pytest.mark.caged_needs("namspace")
    def test_level(): pass

    @pytest.mark.caged_emulator_only("because")
    def test_emulator_only(): pass

    @pytest.mark.caged_live_only(reason="because")
    def test_live_only(): pass

    def test_sound(): pass
"""


@pytest.mark.parametrize("options", [[], ["--caged-target=live"], ["-n1"]])
def test_a_misspelt_marker_fails_its_test_alone(run_suite, options: list[str]) -> None:
    result = run_suite(MISSPELT, *options)
    result.assert_outcomes(errors=7, passed=1)
    for line in (
        "*::test_option: @pytest.mark.caged: unknown option 'templat'; did you mean 'template'?",
        "*::test_option_without_sandbox: @pytest.mark.caged: unknown option 'templat'; did you mean 'template'?",
        "*::test_option_of_a_class: @pytest.mark.caged: unknown option 'memroy'; did you mean 'memory_mb'?",
        "*::test_positional: *takes keyword options only*write for example @pytest.mark.caged(template='python')",
        "*::test_level: caged_needs takes one level, *was given 'namspace'; did you mean 'namespace'?",
        "*::test_emulator_only: @pytest.mark.caged_emulator_only takes no arguments, and was given 'because'",
        "*::test_live_only: @pytest.mark.caged_live_only takes no arguments, and was given reason='because'",
    ):
        result.stdout.fnmatch_lines_random([line])


def test_the_name_of_a_marker_is_checked_unless_the_suite_registers_it(run_suite, pytester) -> None:
    pytester.makeini("[pytest]\nmarkers =\n    caged_by_us(reason): our own")
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.caged_emulator_onyl
        def test_misspelt(): pass

        @pytest.mark.caged_by_us("why")
        def test_of_the_suite(): pass
        """
    )
    result = run_suite(None, strict=False)
    result.assert_outcomes(errors=1, passed=1, warnings=1)
    result.stdout.fnmatch_lines(
        ["*caged_emulator_onyl is not a marker of the caged plugin; did you mean 'caged_emulator_only'?"]
    )


IDLE = """
    import pytest

    @pytest.mark.caged(template="python")
    def test_without_sandbox(caged): pass

    @pytest.mark.caged(template="python")
    def test_without_any_fixture(): pass

    @pytest.mark.parametrize("n", [pytest.param(1, marks=pytest.mark.caged(template="python"))])
    def test_of_a_parameter(n): pass

    @pytest.mark.caged(template="python")
    def test_that_fails_anyhow(): assert 0, "by itself"

    @pytest.mark.caged(template="python")
    def test_with_sandbox(caged_sandbox):
        assert caged_sandbox.template.startswith("python")

    @pytest.fixture
    def prepared(caged_sandbox): return caged_sandbox

    @pytest.mark.caged(template="python")
    def test_by_a_fixture(prepared): assert prepared.template.startswith("python")

    @pytest.mark.caged(template="python")
    def test_by_getfixturevalue(request):
        assert request.getfixturevalue("caged_sandbox").template.startswith("python")

    @pytest.mark.caged(template="python")
    class TestSome:
        def test_with(self, caged_sandbox): pass
        def test_without(self): pass
"""


def test_a_marker_without_effect_fails_its_test(run_suite) -> None:
    result = run_suite(IDLE)
    result.assert_outcomes(failed=4, passed=5)
    text = result.stdout.str()
    assert text.count("has no effect: the test does not use caged_sandbox") == 3
    assert "by itself" in text
