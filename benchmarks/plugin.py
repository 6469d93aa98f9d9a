"""python benchmarks/plugin.py: a test with the fixtures against a test with pytest-httpserver that makes one request.

The tests of each kind run in turn, in one run of pytest. A test counts from the beginning of its setup to the end of
its teardown. Needs `pip install pytest-httpserver`, which is no development dependency: its plugin slows the start of
every pytest.
"""

from __future__ import annotations

import importlib.util
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from _timing import Row, report

ROUNDS, WARM = 150, 10
#: Kinds of tests, with the bound of each against `test_httpserver`.
BOUNDS = {"test_caged": 3.0, "test_caged_sandbox": 7.0}

TESTS = """
import urllib.request


def test_httpserver(httpserver, turn):
    httpserver.expect_request("/sandboxes").respond_with_json([])
    with urllib.request.urlopen(httpserver.url_for("/sandboxes")) as response:
        assert response.read() == b"[]"


def test_caged(caged, turn):
    assert caged.sandboxes.list() == []


def test_caged_sandbox(caged, caged_sandbox, turn):
    assert caged.sandboxes.exec(caged_sandbox.id, "true").exit_code == 0
"""


class Durations:
    """A plugin that repeats the tests in turns, and measures each."""

    def __init__(self) -> None:
        self._seconds: dict[str, list[float]] = {}

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        metafunc.parametrize("turn", range(WARM + ROUNDS))

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        items.sort(key=lambda item: int(item.callspec.params["turn"]))

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: Any) -> Iterator[None]:
        begun = time.perf_counter()
        yield
        self._seconds.setdefault(item.originalname, []).append(time.perf_counter() - begun)

    def milliseconds(self, name: str) -> float:
        """The median of a kind of tests."""
        return statistics.median(self._seconds[name][WARM:]) * 1000


def main() -> int:
    if importlib.util.find_spec("pytest_httpserver") is None:
        print("pytest-httpserver is missing; run `pip install pytest-httpserver`", file=sys.stderr)
        return 2
    for name in [name for name in os.environ if name.startswith("CAGED_")]:
        del os.environ[name]
    durations = Durations()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
        (Path(folder) / "test_kinds.py").write_text(TESTS, encoding="utf-8")
        options = ["-q", "--no-header", "--no-summary", "-p", "no:randomly", "--rootdir", folder]
        code = pytest.main([*options, folder], plugins=[durations])
    if code != 0:
        return int(code)
    theirs = durations.milliseconds("test_httpserver")
    against = "a test with pytest-httpserver"
    print()
    return report([Row(name, durations.milliseconds(name), theirs, against, bound) for name, bound in BOUNDS.items()])


if __name__ == "__main__":
    sys.exit(main())
