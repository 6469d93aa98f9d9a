"""Run by root: `with_subordinate_ids.py FOLDER LINES -- COMMAND...` runs COMMAND in a mount namespace in which
/etc/subuid and /etc/subgid hold LINES.

FOLDER/etc becomes a copy of /etc, which is mounted over it as a whole: an overlay cannot have a lower layer in which
something is mounted.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from continuing import continue_as
from mounting import bind, enter_mount_namespace


def main() -> None:
    etc, lines, command = Path(sys.argv[1], "etc"), sys.argv[2], sys.argv[4:]
    if not etc.exists():
        subprocess.run(["cp", "-a", "/etc", str(etc)], check=True, timeout=60)
    for name in ("subuid", "subgid"):
        if (
            not (etc / name).exists() or (etc / name).read_text() != lines
        ):  # a mask of the emulator's depends on the times of files in /etc
            (etc / name).write_text(lines)
    enter_mount_namespace()
    bind(str(etc), "/etc")
    continue_as(command)


main()
