"""One emulator per level and test process; every test gets it with a sandbox of its own."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Callable

import pytest
from levels import LEVELS, WALLED, Served, need

from caged import Caged
from caged.emulator import Emulator, EmulatorError

Emulators = Callable[[str], Served]


@pytest.fixture(scope="session")
def emulators(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulators]:
    """By level, each started when it is first asked for. Skips when this machine cannot have the level."""
    started: dict[str, Served] = {}

    def emulator(level: str) -> Served:
        need(level)
        if level not in started:
            started[level] = Served(tmp_path_factory.mktemp(level), level)
        return started[level]

    yield emulator
    for served in started.values():
        served.stop()


@pytest.fixture(params=LEVELS)
def anywhere(request: pytest.FixtureRequest, emulators: Emulators) -> Served:
    """The emulator of each level in turn."""
    return emulators(request.param)


@pytest.fixture(params=WALLED)
def walled(request: pytest.FixtureRequest, emulators: Emulators) -> Served:
    """The emulator of each level that has real walls, in turn."""
    return emulators(request.param)


@pytest.fixture
def box(request: pytest.FixtureRequest) -> Iterator[str]:
    """A sandbox of the test's emulator."""
    name = "walled" if "walled" in request.fixturenames else "anywhere"
    with request.getfixturevalue(name).sandbox() as sandbox_id:
        yield sandbox_id


@contextmanager
def client_of(level: str) -> Iterator[Caged]:
    """A client of an emulator in this process. Skips when this machine cannot have the level."""
    if level == "bwrap" and shutil.which("bwrap") is None:
        pytest.skip("there is no bwrap on this machine")
    emulator = Emulator(isolation=level)
    try:
        emulator.start()
    except EmulatorError as error:
        pytest.skip(f"{level} walls do not work here: {str(error).splitlines()[0]}")
    with emulator.client() as client:
        yield client
    emulator.stop()


@pytest.fixture(scope="module", params=["namespace", "bwrap", "process"])
def client(request: pytest.FixtureRequest) -> Iterator[Caged]:
    with client_of(request.param) as client:
        yield client


@pytest.fixture(scope="module", params=["namespace", "bwrap"])
def walled_client(request: pytest.FixtureRequest) -> Iterator[Caged]:
    with client_of(request.param) as client:
        yield client
