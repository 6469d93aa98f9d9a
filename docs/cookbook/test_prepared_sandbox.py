"""A sandbox that takes long to set up is built once, and each test gets one of its own in milliseconds."""

import pytest

SETUP = "echo 'def add(a, b): return a + b' > calc.py; git init -q; echo built >> /tmp/builds"


@pytest.fixture(scope="session")
def with_calc(caged_factory):
    """The name of a prepared sandbox for all tests of the run. With packages=["pytest"] they are installed once."""
    with caged_factory.account() as account:
        with account.emulator.prepare("with-calc", init_script=SETUP, optional=True, account="*") as prepared:
            yield prepared.name


@pytest.fixture
def box(caged, with_calc):
    return caged.sandboxes.create(template=with_calc)


@pytest.mark.parametrize("test", ["first", "second"])
def test_each_test_changes_a_copy_of_its_own(caged, box, test):
    assert caged.files.read(box.id, "/tmp/builds") == "built\n"
    assert caged.sandboxes.exec(box.id, "ls -A").output == ".git\ncalc.py\n"
    caged.files.write(box.id, test, "mine")
    assert caged.sandboxes.exec(box.id, "rm calc.py").ok
