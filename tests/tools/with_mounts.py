"""Run by root: `with_mounts.py PATH... -- COMMAND...` runs COMMAND in a mount namespace in which each PATH is mounted
on itself, as container runtimes mount a file of their own on /etc/hosts."""

from __future__ import annotations

import sys

from continuing import continue_as
from mounting import bind, enter_mount_namespace


def main() -> None:
    end = sys.argv.index("--")
    enter_mount_namespace()
    for path in sys.argv[1:end]:
        bind(path, path)
    continue_as(sys.argv[end + 1 :])


main()
