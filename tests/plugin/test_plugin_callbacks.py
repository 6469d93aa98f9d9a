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


@pytest.mark.parametrize("options", [[], ["-n1", "-o", "caged_unused=ignore"]], ids=str)
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


ELSEWHERE = """
    import pytest

    def broken(*arguments):
        raise KeyError("no idea")

    def run(account):
        client = account.client()
        client.sandboxes.exec(client.sandboxes.create().id, "x")

    @pytest.fixture(scope="module")
    def team(caged_factory):
        with caged_factory.account() as account:
            account.commands.stub("x", broken)
            yield account

    @pytest.fixture(scope="class")
    def late_team(caged_factory):
        with caged_factory.account("late") as account:
            account.commands.stub("x", broken)
            yield account
            run(account)

    def test_fails_with_a_wider_fixture_alone(team):
        run(team)

    def test_passes_between(team, caged_emulator):
        pass

    def test_fails_with_a_wider_fixture(team, caged_emulator):
        run(team)

    def test_fails_in_a_created_account(caged_emulator):
        emulator = caged_emulator.emulator
        account = emulator.for_account(emulator.create_account())
        account.commands.stub("x", broken)
        run(account)

    def test_fails_after_a_reset(caged_emulator):
        caged_emulator.commands.stub("x", broken)
        run(caged_emulator)
        caged_emulator.reset()

    class TestLate:
        def test_passes_before_the_end_of_the_class(self, late_team):
            pass

    def test_passes_after_them(caged_emulator):
        pass
"""


def test_exception_in_any_account_fails_the_test_that_runs(run_suite):
    result = run_suite(ELSEWHERE)
    result.assert_outcomes(passed=3, failed=4, errors=1)
    failed = ("with_a_wider_fixture_alone", "with_a_wider_fixture", "in_a_created_account", "after_a_reset")
    lines = [f"FAILED *::test_fails_{name}*" for name in failed]
    late = "ERROR *::TestLate::test_passes_before_the_end_of_the_class*"
    for line in (*lines, late):
        result.stdout.fnmatch_lines([line])
    result.stdout.fnmatch_lines(["*caged_factory.account('late') of late_team in *"])
