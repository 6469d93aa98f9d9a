"""Shared by the attacks on isolation: one emulator for each level and test process, and programs run in its sandboxes.

A test that tries to change something of the host must be harmless where the protection is missing: it sets what is set
already, sends signal 0, or aims at a process of its own.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from typing import Any, Callable

import pytest
from levels import LEVELS, Served, need

Emulators = Callable[[str], Served]

ISOLATED = LEVELS[:-1]
_started: dict[str, Served] = {}


@pytest.fixture(scope="session")
def emulators(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulators]:
    """By level, each started when it is first used, for all modules. Skips when this machine cannot have the level."""

    def emulator(level: str) -> Served:
        need(level)
        if level not in _started:
            _started[level] = Served(tmp_path_factory.mktemp(level), level)
        return _started[level]

    yield emulator
    while _started:
        _started.popitem()[1].stop()


@pytest.fixture(params=ISOLATED)
def isolated(request: pytest.FixtureRequest, emulators: Emulators) -> Served:
    return emulators(request.param)


@pytest.fixture(params=LEVELS)
def anywhere(request: pytest.FixtureRequest, emulators: Emulators) -> Served:
    return emulators(request.param)


def python(served: Served, box: str, program: str) -> Any:
    """The JSON value that a Python program prints in a sandbox. It must succeed."""
    served.client.files.write(box, "/workspace/program.py", textwrap.dedent(program))
    return json.loads(served.run(box, "python3 program.py"))
