"""For all tests."""

from __future__ import annotations

# httpx imports httpcore when it is first used and remembers its exceptions by class. An in-process run of pytester
# forgets the modules that were imported during it: were httpcore among them, httpx would not know the exceptions of
# the next one. Imported here, it is there before any such run and stays.
import httpcore  # noqa: F401
import recording

recording.begin()


def pytest_sessionfinish() -> None:
    recording.finish()
