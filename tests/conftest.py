"""For all tests."""

from __future__ import annotations

import gc
import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable

import fork_server

# httpx imports httpcore when it is first used and remembers its exceptions by class. An in-process run of pytester
# forgets the modules that were imported during it: were httpcore among them, httpx would not know the exceptions of
# the next one. Imported here, it is there before any such run and stays.
import httpcore  # noqa: F401
import pytest
import recording
import running_order
import shared_compilation
import watchdog
from fork_server_preload import GC_ALLOCATIONS

if TYPE_CHECKING:
    from levels import Served

    from caged.emulator import Emulator

recording.begin()

#: Each framework there needs an environment of its own: `scripts/conformance` runs them.
collect_ignore = ["conformance"]

# Each client of httpx reads the certificates of all authorities, 25 ms of CPU time, whether it uses https or not. Here
# it reads a single one, whose key does not exist; what a test or a program of it connects to by https has its own.
if not os.environ.keys() & {"SSL_CERT_FILE", "SSL_CERT_DIR"}:
    os.environ["SSL_CERT_FILE"] = str(Path(__file__).parent / "tools" / "no_authority.pem")


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """Keep what collection has made out of garbage collections.

    The modules and the tests of the whole suite are a million objects, which live until the end. Each full collection
    would visit them all, in the process in which emulators run.
    """
    gc.disable()
    shared_compilation.compile_share(session.config)
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()
        gc.set_threshold(GC_ALLOCATIONS)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """After pytest-randomly, which shuffles them."""
    running_order.sort(items)


@pytest.fixture(autouse=True, scope="session")
def root_alone_in_this_process() -> Iterator[None]:
    """Emulators in this process do the work on files in it, whatever /etc/subuid gives the user: tests replace
    functions, and look for processes. CAGED_TEST_SUBORDINATE_IDS=1 lets them have users besides root."""
    from caged.emulator.cage import probe

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(probe, "maps_ids", bool(os.environ.get("CAGED_TEST_SUBORDINATE_IDS")))
        yield


@pytest.fixture(autouse=True, scope="session")
def no_locators_at_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What a test serves is not found by the developer's own `caged-emulator env`."""
    directory = str(tmp_path_factory.mktemp("locators"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CAGED_EMULATOR_LOCATOR_DIR", directory)
        yield


@pytest.fixture(autouse=True, scope="session")
def no_entries_in_own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What a test installs is neither found in the developer's own cache nor kept there."""
    directory = str(tmp_path_factory.mktemp("cache"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CAGED_CACHE_DIR", directory)
        yield


@pytest.fixture(scope="session")
def emulators(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Served]]:
    """Return the emulator process of an isolation level, started when it is first needed.

    Skips where this machine cannot have the level. Every test makes sandboxes of its own in it, and destroys them.
    """
    from levels import Served, need  # imports the emulator, which most directories can do without

    started: dict[str, Served] = {}

    def emulator(level: str) -> Served:
        need(level)
        if level not in started:
            started[level] = Served(tmp_path_factory.mktemp(level), level)
        return started[level]

    yield emulator
    for served in started.values():
        served.stop()


def pytest_configure(config: pytest.Config) -> None:
    if config.pluginmanager.hasplugin("randomly"):
        # The seed of `random` before each phase of each test costs a second of the suite. Tests that need numbers which
        # can be repeated have a generator of their own. The order stays random.
        config.option.randomly_reset_seed = False
    if getattr(config.option, "numprocesses", None) and not hasattr(config, "workerinput"):
        sharing = fork_server.share()
        sharing.__enter__()
        config.add_cleanup(lambda: sharing.__exit__(None, None, None))
    if config.pluginmanager.hasplugin("timeout"):
        config.pluginmanager.register(watchdog.Watchdog(), "watchdog")


def pytest_sessionfinish() -> None:
    recording.finish()


@pytest.fixture
def own_emulator() -> Iterator[Callable[..., Emulator]]:
    """Starts emulators for this test alone, with options."""
    from caged.emulator import Emulator  # which most directories can do without

    started: list[Emulator] = []

    def start(**options: Any) -> Emulator:
        started.append(Emulator(**options).start())
        return started[-1]

    yield start
    for emulator in started:
        emulator.stop()
