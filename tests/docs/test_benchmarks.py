"""The benchmarks can be started. What they measure is not tested: see `benchmarks/`."""

from __future__ import annotations

import sys
from pathlib import Path

import fork_server
import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"
NAMES = sorted(path.stem for path in FOLDER.glob("*.py"))


@pytest.mark.parametrize("name", NAMES)
def test_a_benchmark_finds_all_that_it_uses(name: str) -> None:
    code = f"import {name}; assert {name!r}.startswith('_') or callable({name}.main)"
    done = fork_server.run([sys.executable, "-c", code], cwd=FOLDER, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_benchmark_of_the_plugin_names_the_package_that_is_missing() -> None:
    code = "import sys; sys.modules['pytest_httpserver'] = None; import plugin; sys.exit(plugin.main())"
    done = fork_server.run([sys.executable, "-c", code], cwd=FOLDER, capture_output=True, text=True, timeout=60)
    expected = (2, "", "pytest-httpserver is missing; run `pip install pytest-httpserver`\n")
    assert (done.returncode, done.stdout, done.stderr) == expected
