"""An exception in a function that a test registered fails the test."""

from __future__ import annotations

import pytest

SOURCE = """
    import pytest

    def broken(*arguments):
        raise KeyError("no idea")

    def test_fails_by_a_stub(caged, caged_sandbox, caged_emulator):
        caged_emulator.commands.stub("x", broken)
        caged.sandboxes.exec(caged_sandbox.id, "x")

    def test_fails_on_the_first_account(caged_emulator):
        caged_emulator.commands.stub("x", broken)
        with caged_emulator.client() as client:
            box = client.sandboxes.create()
            client.sandboxes.exec(box.id, "x")
            client.sandboxes.destroy(box.id)

    def test_fails_by_an_assertion(caged, caged_sandbox, caged_emulator):
        def check(command):
            assert command == "y"

        caged_emulator.commands.stub(check, optional=True)
        caged.sandboxes.exec(caged_sandbox.id, "x")

    def test_fails_by_itself(caged, caged_sandbox, caged_emulator):
        caged_emulator.commands.stub("x", broken)
        caged.sandboxes.exec(caged_sandbox.id, "x")
        assert False, "by itself"

    def test_fails_once(caged, caged_sandbox, caged_emulator):
        with caged_emulator.commands.stub("x", broken):
            caged.sandboxes.exec(caged_sandbox.id, "x")

    def test_passes_when_allowed(caged, caged_sandbox, caged_emulator):
        caged_emulator.commands.stub("x", broken, allow_errors=True)
        caged.sandboxes.exec(caged_sandbox.id, "x")
        assert caged_emulator.callback_errors()[0].error == "KeyError: 'no idea'"

    def test_passes_when_expected(caged, caged_sandbox, caged_emulator):
        from caged.emulator import CallbackError

        with pytest.raises(CallbackError), caged_emulator.commands.stub("x", broken):
            caged.sandboxes.exec(caged_sandbox.id, "x")

    @pytest.mark.xfail(strict=True)
    def test_is_expected_to_fail(caged, caged_sandbox, caged_emulator):
        caged_emulator.commands.stub("x", broken)
        caged.sandboxes.exec(caged_sandbox.id, "x")

    def test_passes_after_them(caged, caged_emulator):
        assert caged_emulator.callback_errors() == []
"""


@pytest.mark.parametrize("options", [[], ["-n", "2"], ["-o", "caged_unused=ignore"]], ids=str)
def test_exception_of_a_function_fails_the_test(run_suite, options):
    result = run_suite(SOURCE, *options)
    result.assert_outcomes(failed=5, passed=3, xfailed=1)
    text = result.stdout.str()
    assert text.count("caged exceptions of the test's functions") == 1, "a section of the one that failed by itself"
    for name in ("fails_by_a_stub", "fails_on_the_first_account", "fails_by_an_assertion"):
        assert f"test_{name}: stub stub_" in text
    result.stdout.fnmatch_lines(["*by itself*"])
    assert "in broken" in text
    assert "KeyError: 'no idea'" in text
