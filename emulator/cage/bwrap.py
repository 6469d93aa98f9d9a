"""The command line that builds the isolation with bubblewrap, where only bwrap may create user namespaces."""

from __future__ import annotations

import os
import stat
from typing import Any

from .inside.root_filesystem import OWN_TOP, SECRET_DIRS, SECRET_FILES, is_own
from .isolation import PYTHON, interpreter
from .paths import Layout
from .zygote import python_words

LIBRARY = "/opt/caged/lib"
#: What bwrap writes to its standard error, in the sandbox's directory.
SAID = "bwrap-said"


def command(bwrap: str, spec: dict[str, Any], layout: Layout) -> list[str]:
    """`@FD@` stands for the control socket's descriptor. Needs `Layout.lend_library`."""
    words = [bwrap, "--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--uid", "0", "--gid", "0"]
    if spec["network"] != "full":
        words.append("--unshare-net")
    words += ["--hostname", spec["id"], "--die-with-parent", "--as-pid-1"]
    # What init needs until it has given up its rights: it makes the devices read-only, which bwrap cannot.
    words += ["--cap-add", "CAP_SETPCAP", "--cap-add", "CAP_SYS_ADMIN"]
    for name in sorted(os.listdir("/")):
        path = f"/{name}"
        mode = os.lstat(path).st_mode
        if stat.S_ISLNK(mode):
            words += ["--symlink", os.readlink(path), path]
        elif stat.S_ISDIR(mode) and name not in OWN_TOP and name != "opt":
            words += ["--ro-bind-try", path, path]
    for name in sorted(os.listdir("/opt")) if os.path.isdir("/opt") else ():
        if name != "caged" and os.path.isdir(f"/opt/{name}"):
            words += ["--ro-bind-try", f"/opt/{name}", f"/opt/{name}"]
    words += ["--ro-bind", "/sys", "/sys", "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/run", "--dir", "/home"]
    if os.path.isdir("/var/tmp"):
        words += ["--tmpfs", "/var/tmp"]
    for name in ("workspace", "root", "tmp"):
        words += ["--bind", f"{layout.directory}/{name}", f"/{name}"]
    for path in spec["hide"]:
        if os.path.isdir(path) and not is_own(path):
            words += ["--tmpfs", path]
    program, prefix = interpreter()
    elsewhere = spec["python"]
    if elsewhere and program.startswith(f"{prefix}/"):
        program = PYTHON + program[len(prefix) :]
    for path in sorted({*spec["show"], *(() if elsewhere else (prefix,))}, key=len):
        words += ["--ro-bind-try", path, path]
    for path in SECRET_FILES:
        if os.path.isfile(path):
            words += ["--ro-bind", "/dev/null", path]
    for path in SECRET_DIRS:
        if os.path.isdir(path):
            words += ["--tmpfs", path]
    resolver = os.path.realpath("/etc/resolv.conf")
    if resolver.startswith("/run/"):
        words += ["--ro-bind-try", resolver, resolver]
    if spec["hosts"] and os.path.isfile(spec["hosts_target"]):
        words += ["--ro-bind", spec["hosts"], spec["hosts_target"]]
    words += ["--ro-bind", str(layout.opt), "/opt/caged"]
    if elsewhere:
        # Where it is built to look for its own library, there is nothing now. Commands get an environment of their own.
        words += ["--ro-bind", elsewhere, PYTHON, "--setenv", "LD_LIBRARY_PATH", f"{PYTHON}/lib"]
    words += ["--remount-ro", "/", "--chdir", "/workspace", "--"]
    start = f"it.main_of_bwrap(@FD@, {spec!r})"
    return [*words, *python_words(program, LIBRARY, "init", start)]


def complaint(layout: Layout) -> str:
    """Why bwrap gave up, in its own words; empty when it said nothing or was not asked."""
    try:
        return (layout.directory / SAID).read_text("utf-8", "replace").strip()
    except OSError:
        return ""
