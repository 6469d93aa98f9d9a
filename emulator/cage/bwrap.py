"""The command line that builds the isolation with bubblewrap, where only bwrap may create user namespaces."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from .isolation import PYTHON, below, interpreter
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

    Where init may mount after bwrap, bwrap only makes the namespaces, and init builds the root as it does at level
    `namespace`. Otherwise bwrap mounts everything; the order matters, since a later mount covers an earlier one.

    Args:
        bwrap: The path of the program.
        spec: What `IsolationLevel.spec` has made for this sandbox.
        layout: The sandbox's directory, with `Layout.copy_library` done.

    Returns:
        Its words, with CONTROL_FD for the control socket.
    """
    program, prefix = interpreter()
    if spec["root_kind"] == "overlays":
        library = f"{layout.opt}/lib"
        words = [*_namespaces(spec), "--cap-add", "ALL", "--dev-bind", "/", "/", "--chdir", "/", "--"]
        return [bwrap, *words, *python_words(program, library, "startup", _main(spec))]
    python = spec["python"]  # the interpreter's prefix, when it is shown as PYTHON
    if python and program.startswith(f"{prefix}/"):
        program = PYTHON + program[len(prefix) :]
    return [
        bwrap,
        *_namespaces(spec),
        # What init needs until it has given up its rights: it makes the devices read-only, which bwrap cannot. And what
        # `namespaces` leaves to commands, as far as bwrap can.
        *("--cap-add", "ALL"),
        *_root(spec, layout),
        *_own_directories(layout),
        *_hiding_mounts(spec),
        *_visible_mounts({*spec["show"], *(() if python or below(prefix, "/usr") else (prefix,))}),
        *_resolver(),
        *_programs(layout, python),
        *("--chdir", "/workspace", "--"),
        *python_words(program, LIBRARY, "startup", _main(spec)),
    ]


def _main(spec: dict[str, Any]) -> str:
    return f"it.main_of_bwrap({CONTROL_FD}, {spec!r})"


def _namespaces(spec: dict[str, Any]) -> Iterator[str]:
    yield from ("--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--uid", "0", "--gid", "0")
    if spec["network"] != "full":
        yield "--unshare-net"
    yield from ("--hostname", spec["id"], "--die-with-parent", "--as-pid-1")


def _root(spec: dict[str, Any], layout: Layout) -> Iterator[str]:
    """The sandbox's root, with the host's directories and the sandbox's copies in it; see `copies.py`."""
    yield from ("--bind", str(layout.top), "/")
    for name in spec["programs"]:
        yield from ("--ro-bind", f"/{name}", f"/{name}")
    for path in spec["copied"]:
        if os.path.isdir(f"/{path}") or path in os.listdir(layout.top):
            yield from ("--bind", f"{layout.changed}/{path}", f"/{path}")
    for path in spec["bound"]:
        # bwrap follows links, so nothing is mounted where the sandbox has put one.
        if _is_same_kind(f"{layout.changed}{path}", path):
            yield from ("--ro-bind-try", path, path)


def _is_same_kind(path: str, other: str) -> bool:
    """Whether a path without links is a file or directory as the other one."""
    if os.path.realpath(path) != path:
        return False
    return os.path.isdir(path) == os.path.isdir(other) and os.path.isfile(path) == os.path.isfile(other)


def _own_directories(layout: Layout) -> Iterator[str]:
    yield from ("--ro-bind", "/sys", "/sys", "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/run", "--dir", "/home")
    for name in WRITABLE:
        yield from ("--bind", f"{layout.directory}/{name}", f"/{name}")


def _hiding_mounts(spec: dict[str, Any]) -> Iterator[str]:
    for path in spec["hide"]:
        if path.split("/")[1] in spec["programs"] and os.path.isdir(path):
            yield from ("--tmpfs", path)


def _visible_mounts(paths: set[str]) -> Iterator[str]:
    for path in sorted(paths, key=len):
        yield from ("--ro-bind-try", path, path)


def _resolver() -> Iterator[str]:
    resolver = os.path.realpath("/etc/resolv.conf")
    if resolver.startswith("/run/"):  # where the sandbox has a directory of its own
        yield from ("--ro-bind-try", resolver, resolver)


def _programs(layout: Layout, python: str) -> Iterator[str]:
    yield from ("--ro-bind", str(layout.opt), "/opt/caged")
    if python:
        # The library path that is built into the interpreter does not exist inside. This applies to init and the
        # emulator's programs: commands get an environment of their own.
        yield from ("--ro-bind", python, PYTHON, "--setenv", "LD_LIBRARY_PATH", f"{PYTHON}/lib")


def errors(layout: Layout) -> str:
    """Return what bwrap has written to its standard error; "" when there is none, or bwrap was not used."""
    try:
        return (layout.directory / ERRORS).read_text("utf-8", "replace").strip()
    except OSError:
        return ""
