"""The command line that builds the isolation with bubblewrap, where only bwrap may create user namespaces."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from typing import Any

from .inside.root_filesystem import OWN_TOP, SECRET_DIRS, SECRET_FILES, is_own
from .isolation import PYTHON, interpreter
from .paths import WRITABLE, Layout
from .zygote import python_words

#: Where init finds its modules inside. Needs `Layout.copy_library`.
LIBRARY = "/opt/caged/lib"
#: The file in the sandbox's directory that gets the standard error of bwrap.
ERRORS = "bwrap-errors"
#: Replaced by the descriptor of the control socket when the zygote starts bwrap.
CONTROL_FD = "@FD@"


def command(bwrap: str, spec: dict[str, Any], layout: Layout) -> list[str]:
    """Return the command that builds a sandbox's isolation and then becomes its init.

    The order matters: a later mount covers an earlier one.

    Args:
        bwrap: The path of the program.
        spec: What `IsolationLevel.spec` has made for this sandbox.
        layout: The sandbox's directory, with `Layout.copy_library` done.

    Returns:
        Its words, with CONTROL_FD for the control socket.
    """
    program, prefix = interpreter()
    python = spec["python"]  # the interpreter's prefix, when it is shown as PYTHON
    if python and program.startswith(f"{prefix}/"):
        program = PYTHON + program[len(prefix) :]
    shown = {*spec["show"], *(() if python else (prefix,))}
    return [
        bwrap,
        *_namespaces(spec),
        *_host_directories(),
        *_own_directories(layout),
        *_hiding_mounts(spec["hide"]),
        *_visible_mounts(shown),
        *_secrets(),
        *_network_files(spec),
        *_programs(layout, python),
        *("--remount-ro", "/", "--chdir", "/workspace", "--"),
        *python_words(program, LIBRARY, "startup", f"it.main_of_bwrap({CONTROL_FD}, {spec!r})"),
    ]


def _namespaces(spec: dict[str, Any]) -> Iterator[str]:
    yield from ("--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--uid", "0", "--gid", "0")
    if spec["network"] != "full":
        yield "--unshare-net"
    yield from ("--hostname", spec["id"], "--die-with-parent", "--as-pid-1")
    # What init needs until it has given up its rights: it makes the devices read-only, which bwrap cannot.
    yield from ("--cap-add", "CAP_SETPCAP", "--cap-add", "CAP_SYS_ADMIN")


def _host_directories() -> Iterator[str]:
    """The host's top-level directories and links. /opt consists of its entries, since /opt/caged is the sandbox's."""
    for name in sorted(os.listdir("/")):
        path = f"/{name}"
        mode = os.lstat(path).st_mode
        if stat.S_ISLNK(mode):
            yield from ("--symlink", os.readlink(path), path)
        elif stat.S_ISDIR(mode) and name not in OWN_TOP and name != "opt":
            yield from ("--ro-bind-try", path, path)
    for name in sorted(os.listdir("/opt")) if os.path.isdir("/opt") else ():
        if name != "caged" and os.path.isdir(f"/opt/{name}"):
            yield from ("--ro-bind-try", f"/opt/{name}", f"/opt/{name}")


def _own_directories(layout: Layout) -> Iterator[str]:
    yield from ("--ro-bind", "/sys", "/sys", "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/run", "--dir", "/home")
    if os.path.isdir("/var/tmp"):
        yield from ("--tmpfs", "/var/tmp")
    for name in WRITABLE:
        yield from ("--bind", f"{layout.directory}/{name}", f"/{name}")


def _hiding_mounts(paths: list[str]) -> Iterator[str]:
    for path in paths:
        if os.path.isdir(path) and not is_own(path):
            yield from ("--tmpfs", path)


def _visible_mounts(paths: set[str]) -> Iterator[str]:
    for path in sorted(paths, key=len):
        yield from ("--ro-bind-try", path, path)


def _secrets() -> Iterator[str]:
    for path in SECRET_FILES:
        if os.path.isfile(path):
            yield from ("--ro-bind", "/dev/null", path)
    for path in SECRET_DIRS:
        if os.path.isdir(path):
            yield from ("--tmpfs", path)


def _network_files(spec: dict[str, Any]) -> Iterator[str]:
    resolver = os.path.realpath("/etc/resolv.conf")
    if resolver.startswith("/run/"):  # where the sandbox has a directory of its own
        yield from ("--ro-bind-try", resolver, resolver)
    if spec["hosts"] and os.path.isfile(spec["hosts_target"]):
        yield from ("--ro-bind", spec["hosts"], spec["hosts_target"])


def _programs(layout: Layout, python: str) -> Iterator[str]:
    yield from ("--ro-bind", str(layout.opt), "/opt/caged")
    if python:
        # Where it is built to look for its own library, there is nothing now. Commands get an environment of their own.
        yield from ("--ro-bind", python, PYTHON, "--setenv", "LD_LIBRARY_PATH", f"{PYTHON}/lib")


def errors(layout: Layout) -> str:
    """Return what bwrap has written to its standard error; "" when there is none, or bwrap was not used."""
    try:
        return (layout.directory / ERRORS).read_text("utf-8", "replace").strip()
    except OSError:
        return ""
