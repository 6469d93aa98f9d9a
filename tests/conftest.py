"""For all tests."""

from __future__ import annotations

from collections.abc import Iterator

# httpx imports httpcore when it is first used and remembers its exceptions by class. An in-process run of pytester
# forgets the modules that were imported during it: were httpcore among them, httpx would not know the exceptions of
# the next one. Imported here, it is there before any such run and stays.
import httpcore  # noqa: F401
import pytest
import recording

recording.begin()


@pytest.fixture(autouse=True, scope="session")
def no_locators_at_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What a test serves is not found by the developer's own `caged-emulator env`."""
    directory = str(tmp_path_factory.mktemp("locators"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CAGED_EMULATOR_LOCATOR_DIR", directory)
        yield


def pytest_sessionfinish() -> None:
    recording.finish()
