"""For the tests of what is installed."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def mypy_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of all runs of mypy. Most of their time goes into the standard library and the dependencies, which are
    the same in each of the environments that they look at."""
    return tmp_path_factory.mktemp("mypy")
