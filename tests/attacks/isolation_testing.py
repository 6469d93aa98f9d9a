"""Shared by the attacks on isolation: the emulator of each level, and programs that run in its sandboxes.

A test that tries to change something of the host must be harmless where the protection is missing: it sets what is set
already, sends signal 0, or aims at a process of its own.
"""

from __future__ import annotations

import json
import textwrap
from typing import Any, Callable

import pytest
from levels import LEVELS, Served

Emulators = Callable[[str], Served]

ISOLATED = LEVELS[:-1]


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
