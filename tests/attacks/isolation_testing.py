"""Shared by the attacks on isolation: the emulator of each level, and programs that run in its sandboxes.

A test that tries to change the host must do no harm where the protection is missing: it writes back the current
value, sends signal 0, or targets a process of its own.
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
    """Run a Python program in a sandbox and return the JSON value that it prints. It must succeed."""
    served.client.files.write(box, "/workspace/program.py", textwrap.dedent(program))
    return json.loads(served.run(box, "python3 program.py"))
