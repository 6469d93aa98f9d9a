"""What a script does that prepares its process for another program."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence


def continue_as(command: Sequence[str]) -> None:
    """Be another program from now on.

    By exec, or in this interpreter where that is a fork of the fork server and the program is one in Python: exec would
    start an interpreter that has to import everything again.
    """
    server = sys.modules.get("fork_server")
    if server is not None and command[0] == sys.executable:
        server.become(list(command[1:]))
    else:
        os.execvp(command[0], list(command))
