"""The TCP ports on which the processes of a sandbox listen, read from the host's /proc."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Optional

from . import tcp_table
from .inside.processes import descendants

_LISTEN = "0A"
_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}


def listening(init: Optional[int]) -> dict[int, str]:
    """Return the ports of a sandbox's processes. Blocks (microseconds per process).

    Sockets of the host's other processes are left out, also where the sandbox has the host's network.

    Args:
        init: The process number of the sandbox's init.

    Returns:
        The address by which each port is reached from within.
    """
    by_network: dict[str, tuple[int, set[str]]] = {}
    for pid in descendants([init] if init is not None else []):
        sockets = set(sockets_of(pid))
        if not sockets:
            continue
        try:
            network = os.readlink(f"/proc/{pid}/ns/net")
        except OSError:
            continue
        by_network.setdefault(network, (pid, set()))[1].update(sockets)
    found: dict[int, str] = {}
    for pid, sockets in by_network.values():
        for columns, family in tcp_table.rows(pid):
            if columns[3] == _LISTEN and columns[9] in sockets:
                address, port = tcp_table.parse(columns[1], family)
                found.setdefault(port, _ANY.get(address, address))
    return found


def sockets_of(pid: int) -> Iterator[str]:
    """Yield the inodes of a process's sockets, without those that are certainly not of a network."""
    directory = f"/proc/{pid}/fd"
    try:
        names = os.listdir(directory)
    except OSError:
        return
    for name in names:
        try:
            target = os.readlink(f"{directory}/{name}")
        except OSError:
            continue
        if target.startswith("socket:[") and not _is_local(f"{directory}/{name}"):
            yield target[len("socket:[") : -1]


def _is_local(path: str) -> bool:
    """Whether a descriptor's socket is a Unix socket. Every init has some, and without another socket no table is read:
    that takes 10 ms on a busy machine, in each search for ports."""
    try:
        return os.getxattr(path, "system.sockprotoname").startswith(b"UNIX")
    except OSError:
        return False
