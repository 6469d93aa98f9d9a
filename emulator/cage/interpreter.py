"""The Python that runs the emulator's programs inside a sandbox."""

from __future__ import annotations

import functools
import os
import sys

#: Where the emulator's programs inside find an interpreter whose own directory is hidden.
PYTHON = "/opt/caged/python"


@functools.lru_cache(maxsize=1)
def interpreter() -> tuple[str, str]:
    """Return program and prefix of the Python that runs the emulator's programs inside a sandbox: the base of a virtual
    environment."""
    program = os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)
    return program, sys.base_prefix
