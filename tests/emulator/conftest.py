"""One emulator per worker, an account of its own per test: nothing a test makes is seen by another."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cli_testing import Served
from emulator_testing import Api, FakeClock, api_of, eventually

from caged.emulator import Emulator


@pytest.fixture(scope="session")
def isolated_emulator() -> Iterator[Emulator]:
    """One with the strongest isolation of this machine."""
    with Emulator(allow_unused=True) as running:
        yield running


@pytest.fixture(scope="session")
def emulator(isolated_emulator: Emulator) -> Emulator:
    """The isolated one. Files whose tests do not depend on the isolation override this with `process_emulator`: a
    sandbox of that one takes half of the processor time."""
    return isolated_emulator


@pytest.fixture(scope="session")
def process_emulator() -> Iterator[Emulator]:
    """An emulator with process isolation: for tests that do not depend on the isolation, and for what is possible at
    this level alone: a place replaced by a link, process numbers that are the host's."""
    with Emulator(isolation="process", allow_unused=True) as running:
        yield running


@pytest.fixture(scope="session")
def controlled_emulator() -> Iterator[Emulator]:
    """An emulator for tests of controls alone, some of which add controls for all accounts. Controls do not depend on
    the isolation."""
    with Emulator(isolation="process", allow_unused=True) as running:
        yield running


@pytest.fixture
def process_api(process_emulator: Emulator, new_api: Callable[[Emulator], Api]) -> Api:
    return new_api(process_emulator)


@pytest.fixture
def process_box(process_api: Api) -> str:
    return process_api.sandbox()


@pytest.fixture
def new_api() -> Iterator[Callable[[Emulator], Api]]:
    """Makes a client with a fresh account; both are gone after the test."""
    made: list[Api] = []

    def make(emulator: Emulator) -> Api:
        made.append(api_of(emulator))
        return made[-1]

    yield make
    for api in made:
        api.close()
        if api.emulator._runtime is not None:
            api.emulator.remove_account(api.account_id)


@pytest.fixture(scope="module")
def shared_api(emulator: Emulator) -> Iterator[Api]:
    """A client with an account for the tests of a module with the mark `shared_sandbox`."""
    with api_of(emulator) as made:
        yield made
    if emulator._runtime is not None:
        emulator.remove_account(made.account_id)


@pytest.fixture(scope="module")
def shared_box(shared_api: Api) -> str:
    return shared_api.sandbox()


@pytest.fixture
def api(request: pytest.FixtureRequest, emulator: Emulator, new_api: Callable[[Emulator], Api]) -> Api:
    """A client with a fresh account; with the mark `shared_sandbox` that of the module."""
    if request.node.get_closest_marker("shared_sandbox"):
        shared: Api = request.getfixturevalue("shared_api")
        return shared
    return new_api(emulator)


@pytest.fixture
def other(emulator: Emulator, new_api: Callable[[Emulator], Api]) -> Api:
    """Another account on the same emulator."""
    return new_api(emulator)


@pytest.fixture
def box(request: pytest.FixtureRequest, api: Api) -> str:
    """A running sandbox; with the mark `shared_sandbox` that of the module, with whatever other tests left in it.

    A new one takes longer than most calls, so tests with many parameters that need nothing of it for themselves have
    the mark.
    """
    if request.node.get_closest_marker("shared_sandbox"):
        shared: str = request.getfixturevalue("shared_box")
        return shared
    return api.sandbox()


@pytest.fixture
def timed(emulator: Emulator, new_api: Callable[[Emulator], Api]) -> tuple[Api, FakeClock]:
    """A client with an account whose clock the test moves."""
    api = new_api(emulator)
    return api, FakeClock(emulator, api.account_id)


@pytest.fixture(scope="session")
def git(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Runs git on the host, without the settings of whoever runs the tests."""
    home = tmp_path_factory.mktemp("git-home")
    names = {
        f"GIT_{role}_{what}": "tester@example.invalid" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
    }
    env = {"PATH": os.environ["PATH"], "HOME": str(home), "GIT_CONFIG_NOSYSTEM": "1", **names}

    def run(*arguments: str, cwd: Path) -> str:
        done = subprocess.run(["git", *arguments], cwd=cwd, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return run


@pytest.fixture
def env(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The tests' environment without settings for the emulator, and with a place of the test's own to be found at."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith("CAGED_")}
    return {**bare, "CAGED_EMULATOR_LOCATOR_DIR": str(tmp_path_factory.mktemp("locators"))}


@pytest.fixture
def serve(tmp_path: Path, env: dict[str, str]) -> Iterator[Callable[..., Served]]:
    """Starts `caged-emulator serve` with options (`--port 0` if none) and further environment variables."""
    started: list[Served] = []

    def start(*options: str, **more: str) -> Served:
        started.append(Served(tmp_path / "tmp", *(options or ("--port", "0")), env={**env, **more}))
        return started[-1]

    yield start
    for served in started:
        served.process.terminate()
        try:
            served.end()
        except subprocess.TimeoutExpired:
            served.process.kill()
            served.end()
    tmp = tmp_path / "tmp"
    eventually(lambda: not tmp.exists() or list(tmp.iterdir()) == [], "the emulator's directory to go")
