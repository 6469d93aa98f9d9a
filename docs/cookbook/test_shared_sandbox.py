"""A sandbox that all tests of a module share belongs to an account of its own, not to a test's."""

from collections.abc import Iterator

import pytest

from caged import Caged, Sandbox
from caged.pytest_plugin import CagedFactory


@pytest.fixture(scope="module")
def shared(caged_factory: CagedFactory) -> Iterator[Caged]:
    with caged_factory.account() as account:
        yield account.client()


@pytest.fixture(scope="module")
def shared_box(shared: Caged) -> Sandbox:
    return shared.sandboxes.create(init_script="echo installed > state")


@pytest.mark.parametrize("name", ["state", "/workspace/state"])
def test_it_was_set_up_once(shared: Caged, shared_box: Sandbox, name: str) -> None:
    assert shared.files.read(shared_box.id, name) == "installed\n"


def test_a_tests_own_account_does_not_see_it(caged: Caged, shared_box: Sandbox) -> None:
    assert caged.sandboxes.list() == []
