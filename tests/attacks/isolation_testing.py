"""Shared by the attacks on isolation: the emulator of each level, and programs that run in its sandboxes.

A test that tries to change the host must do no harm where the protection is missing: it writes back the current
value, sends signal 0, or targets a process of its own.
"""

from __future__ import annotations

import json
import os
import textwrap
from typing import Any, Callable

import pytest
from levels import LEVELS, Served

Emulators = Callable[[str], Served]

LONG = os.environ.get("CAGED_ATTACKS_LONG") == "1"

#: Those of the user that runs the suite. `.ci/run` runs these tests as an ordinary user too.
OWN_LEVELS = [level for level in LEVELS if LONG or not level.endswith("-user")]


@pytest.fixture(params=[level for level in OWN_LEVELS if level != "process"])
def isolated(request: pytest.FixtureRequest, emulators: Emulators) -> Served:
    return emulators(request.param)


@pytest.fixture(params=OWN_LEVELS)
def anywhere(request: pytest.FixtureRequest, emulators: Emulators) -> Served:
    return emulators(request.param)


def python(served: Served, box: str, program: str) -> Any:
    """Run a Python program in a sandbox and return the JSON value that it prints. It must succeed."""
    served.client.files.write(box, "/workspace/program.py", textwrap.dedent(program))
    return json.loads(served.run(box, "python3 program.py"))
