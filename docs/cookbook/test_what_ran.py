"""Assert what ran in a sandbox; when it was something else, the failure says what came nearest."""

import pytest

from caged import BoundSandbox, Caged
from caged.emulator import AccountView


def run_tests(client: Caged, box: BoundSandbox) -> None:  # code under test
    client.sandboxes.exec(box.id, "echo pytest -x tests/unit")


def test_the_tests_ran_once(caged: Caged, caged_emulator: AccountView, caged_sandbox: BoundSandbox) -> None:
    run_tests(caged, caged_sandbox)
    (ran,) = caged_emulator.journal.assert_ran("*pytest -x *", sandbox=caged_sandbox.id, times=1)
    assert (ran.exit_code, ran.output) == (0, "pytest -x tests/unit\n")
    caged_emulator.journal.assert_not_ran("rm *")


def test_a_near_miss_is_shown(caged: Caged, caged_emulator: AccountView, caged_sandbox: BoundSandbox) -> None:
    run_tests(caged, caged_sandbox)
    with pytest.raises(AssertionError) as caught:
        caged_emulator.journal.assert_ran("echo pytest -x tests")
    assert str(caught.value) == (
        "'echo pytest -x tests' never ran. What came, the nearest first:\n  echo pytest -x tests/unit"
    )
