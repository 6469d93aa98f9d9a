"""For scripts that prepare their process for another program."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence


def after(statement: str) -> list[str]:
    """Return the words before a command of an interpreter that runs a statement, and then becomes the command."""
    code = f"import sys; sys.path.append({os.path.dirname(__file__)!r}); {statement}"
    return [sys.executable, "-c", f"{code}; import continuing; continuing.continue_as(sys.argv[1:])"]


def continue_as(command: Sequence[str]) -> None:
    """Replace this program by another one.

    Uses exec, except for a Python program in a fork of the fork server, which runs in this interpreter: exec would
    start one that imports everything again.
    """
    server = sys.modules.get("fork_server_process")
    if server is not None and command[0] == sys.executable:
        server.become(list(command[1:]))
    else:
        os.execvp(command[0], list(command))
