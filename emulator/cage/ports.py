"""The TCP ports on which the processes of a sandbox listen, read from the host's /proc."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterable, Iterator
from typing import Optional

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
        # IPv4 first: that is what most clients try first.
        for name, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
            for port, address in _table(pid, name, family, sockets):
                found.setdefault(port, address)
    return found


def sockets_of(pid: int) -> Iterator[str]:
    """Yield the inodes of a process's sockets."""
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
        if target.startswith("socket:["):
            yield target[len("socket:[") : -1]


def _table(pid: int, name: str, family: int, sockets: Iterable[str]) -> Iterator[tuple[int, str]]:
    """Yield port and address of those among `sockets` that listen, from the table of the process's network."""
    try:
        with open(f"/proc/{pid}/net/{name}", encoding="ascii") as table:
            lines = table.read().splitlines()[1:]
    except OSError:
        return
    for line in lines:
        columns = line.split()
        if columns[3] == _LISTEN and columns[9] in sockets:
            address, port = columns[1].split(":")
            yield int(port, 16), _reachable(address, family)


def _reachable(written: str, family: int) -> str:
    """Parse an address of the table: words of 32 bits in the machine's byte order."""
    words = [int(written[start : start + 8], 16) for start in range(0, len(written), 8)]
    address = socket.inet_ntop(family, struct.pack(f"={len(words)}I", *words))
    return _ANY.get(address, address)
