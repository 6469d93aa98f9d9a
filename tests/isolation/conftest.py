"""One emulator per level and test process (tests/conftest.py); each test gets its own sandbox."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Callable

import pytest
from levels import OWN_USER, Served, SharedBoxes, client_of

from caged import Caged

Emulators = Callable[[str], Served]


@pytest.fixture(params=OWN_USER)
def anywhere(request: pytest.FixtureRequest, emulators: Emulators) -> Served:
    """The emulator of each level in turn."""
    return emulators(request.param)


@pytest.fixture(params=OWN_USER[:-1])
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


@pytest.fixture(scope="module")
def clients() -> Iterator[Callable[[str], Caged]]:
    """Return the client of a level's emulator in this process, started when it is first needed.

    Not a parameter of the fixture itself: in random order it would start again with each change of the level.
    """
    made: dict[str, Caged] = {}
    with contextlib.ExitStack() as stack:

        def client(level: str) -> Caged:
            if level not in made:
                made[level] = stack.enter_context(client_of(level))
            return made[level]

        yield client


@pytest.fixture(params=OWN_USER)
def client(request: pytest.FixtureRequest, clients: Callable[[str], Caged]) -> Caged:
    return clients(request.param)


@pytest.fixture(params=OWN_USER[:-1])
def isolated_client(request: pytest.FixtureRequest, clients: Callable[[str], Caged]) -> Caged:
    return clients(request.param)
