"""Programs that present themselves as a Python of a template."""

from __future__ import annotations

import json
import sys
from pathlib import Path


def other_version() -> str:
    """The version of a template that is not the one of this interpreter, which is looked for in PATH."""
    return "3.11" if sys.version_info[:2] == (3, 12) else "3.12"


def python_with_pip(directory: Path, pip: str) -> str:
    """Make a program for that version, and return the PATH on which it is.

    Args:
        directory: Where it is made.
        pip: The version of its pip; empty for none.
    """
    directory.mkdir(exist_ok=True)
    program = directory / f"python{other_version()}"
    found = [str(program), f"{other_version()}.1", pip or None, "/usr"]
    program.write_text(f"#!/bin/sh\necho '{json.dumps(found)}'\n")
    program.chmod(0o755)
    return str(directory)
