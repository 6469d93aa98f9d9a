"""For scripts that prepare their process for another program."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence


def continue_as(command: Sequence[str]) -> None:
    """Replace this program by another one.

    Uses exec, except for a Python program in a fork of the fork server, which runs in this interpreter: exec would
    start one that imports everything again.
    """
    server = sys.modules.get("fork_server")
    if server is not None and command[0] == sys.executable:
        server.become(list(command[1:]))
    else:
        os.execvp(command[0], list(command))
