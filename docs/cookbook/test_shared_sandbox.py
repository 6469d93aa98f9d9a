"""A sandbox that all tests of a module share belongs to an account of its own, not to a test's."""

import pytest


@pytest.fixture(scope="module")
def shared(caged_factory):
    with caged_factory.account() as account:
        yield account.client()


@pytest.fixture(scope="module")
def shared_box(shared):
    return shared.sandboxes.create(init_script="echo installed > state")


@pytest.mark.parametrize("name", ["state", "/workspace/state"])
def test_it_was_set_up_once(shared, shared_box, name):
    assert shared.files.read(shared_box.id, name) == "installed\n"


def test_a_tests_own_account_does_not_see_it(caged, shared_box):
    assert caged.sandboxes.list() == []
