"""A sandbox that takes long to set up is built once, and each test gets one of its own in milliseconds."""

import os
from collections.abc import Iterator

import pytest

from caged import Caged, Sandbox
from caged.pytest_plugin import CagedFactory

SETUP = "echo 'def add(a, b): return a + b' > calc.py; git init -q; echo built >> /tmp/builds"


@pytest.fixture(scope="session")
def with_calc(caged_factory: CagedFactory) -> Iterator[str]:
    """The name of a prepared sandbox for all tests of the run. With packages=["pytest"] they are installed once."""
    with caged_factory.account() as account:
        name = f"with-calc-{os.getpid()}"  # one for each worker, whether these share an emulator or not
        with account.emulator.prepare(name, init_script=SETUP, optional=True, account="*") as prepared:
            yield prepared.name


@pytest.fixture
def box(caged: Caged, with_calc: str) -> Sandbox:
    return caged.sandboxes.create(template=with_calc)


@pytest.mark.parametrize("test", ["first", "second"])
def test_each_test_changes_a_copy_of_its_own(caged: Caged, box: Sandbox, test: str) -> None:
    assert caged.files.read(box.id, "/tmp/builds") == "built\n"
    assert caged.sandboxes.exec(box.id, "ls -A").output == ".git\ncalc.py\n"
    caged.files.write(box.id, test, "mine")
    assert caged.sandboxes.exec(box.id, "rm calc.py").ok
