"""What the tests of transfers share."""

from __future__ import annotations

import os
import shlex
import stat

DIFFICULT = "-rf '\"$HOME`id`*?[a]\\n\\\t;&#!~%s h\xe9 \u65e5\n\nend\n"

LONG = "n" * 200


def look(root):
    """Type, mode, time and content of everything in a directory, by its path there."""
    found = {}
    for path in sorted(root.rglob("*")):
        status = path.lstat()
        if path.is_symlink():
            found[str(path.relative_to(root))] = ("link", os.readlink(path))
        else:
            content = path.read_bytes() if path.is_file() else None
            known = (stat.filemode(status.st_mode), int(status.st_mtime), content)
            found[str(path.relative_to(root))] = known
    return found


def failing(kind):
    def progress(_done, _total):
        raise kind("stop")

    return progress


def replace_program(box, name, script):
    """Another program of this name, which comes first on the path of commands."""
    box.write(f"/root/.local/bin/{name}", f"#!/bin/sh\n{script}")
    box.run(["chmod", "755", f"/root/.local/bin/{name}"], check=True)


def host_path(box, path):
    """A directory of a sandbox at level `process`, as a file in it has to name it."""
    return shlex.quote(box.run("pwd", cwd=path).stdout.removesuffix("\n"))
