"""Compile each test module in one worker of xdist, not in all of them.

In a fresh checkout pytest rewrites the assertions of 250 modules, which takes 4 s of processor time, and each worker
would do it for itself, at the same time as the others. What one has compiled is in `__pycache__` for the others.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from pathlib import Path

import pytest


def compile_share(config: pytest.Config) -> None:
    """Import this worker's share of the test modules that have not been compiled yet.

    Without effect but in a worker. What cannot be imported is reported when it is collected.
    """
    worker = getattr(config, "workerinput", None)
    if worker is None or sys.dont_write_bytecode:
        return
    number, count = int(worker["workerid"][len("gw") :]), worker["workercount"]
    places = [Path(config.invocation_params.dir, argument) for argument in config.args]
    modules = [path for place in places if place.is_dir() for path in sorted(place.rglob("test_*.py"))]
    modules = [path for path in modules if "downstream" not in path.parts]  # has projects with suites of their own
    for path in [path for path in modules if not _is_compiled(path)][number::count]:
        sys.path.insert(0, str(path.parent))
        with contextlib.suppress(Exception, pytest.skip.Exception):
            importlib.import_module(path.stem)
        sys.path.remove(str(path.parent))


def _is_compiled(path: Path) -> bool:
    name = f"{path.stem}.{sys.implementation.cache_tag}-pytest-{pytest.__version__}.pyc"
    compiled = path.parent / "__pycache__" / name
    return compiled.exists() and compiled.stat().st_mtime >= path.stat().st_mtime
