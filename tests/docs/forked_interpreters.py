"""A plugin of pytest for the recipes, loaded in a fork of the fork server: what a recipe starts with `subprocess.run`
and this interpreter is a fork, too. A recipe that starts pytest or the command line needs 2 s of CPU time otherwise."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import fork_server

_run = subprocess.run


def run(args: Any, **options: Any) -> subprocess.CompletedProcess[Any]:
    """Run a program as `subprocess.run` does."""
    starts_python = isinstance(args, list) and args[0] == sys.executable
    return (fork_server.run if starts_python else _run)(args, **options)


subprocess.run = run  # type: ignore[assignment]
