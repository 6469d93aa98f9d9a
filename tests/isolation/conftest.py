"""One emulator per level and test process (tests/conftest.py); each test gets its own sandbox."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Callable

import pytest
from levels import ISOLATED, LEVELS, Served, SharedBoxes, client_of

from caged import Caged

Emulators = Callable[[str], Served]


@pytest.fixture(params=LEVELS)
def anywhere(request: pytest.FixtureRequest, emulators: Emulators) -> Served:
    """The emulator of each level in turn."""
    return emulators(request.param)


@pytest.fixture(params=ISOLATED)
def isolated(request: pytest.FixtureRequest, emulators: Emulators) -> Served:
    """The emulator of each level that has real isolation, in turn."""
    return emulators(request.param)


@pytest.fixture
def box(request: pytest.FixtureRequest) -> Iterator[str]:
    """A sandbox of the test's emulator."""
    name = "isolated" if "isolated" in request.fixturenames else "anywhere"
    with request.getfixturevalue(name).sandbox() as sandbox_id:
        yield sandbox_id


@pytest.fixture(scope="module")
def shared_boxes() -> Iterator[SharedBoxes]:
    boxes = SharedBoxes()
    yield boxes
    boxes.destroy()


@pytest.fixture
def shared_box(request: pytest.FixtureRequest, shared_boxes: SharedBoxes) -> str:
    """A sandbox that the tests of a module share, for tests that do not change it."""
    name = "isolated" if "isolated" in request.fixturenames else "anywhere"
    return shared_boxes.get(request.getfixturevalue(name))


@pytest.fixture(scope="module", params=["namespace", "bwrap", "process"])
def client(request: pytest.FixtureRequest) -> Iterator[Caged]:
    with client_of(request.param) as client:
        yield client


@pytest.fixture(scope="module", params=["namespace", "bwrap"])
def isolated_client(request: pytest.FixtureRequest) -> Iterator[Caged]:
    with client_of(request.param) as client:
        yield client
