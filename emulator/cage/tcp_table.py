"""The kernel's tables of TCP sockets."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from typing import Union

#: IPv4 first: that is what most clients try first.
_FAMILIES = (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6))


def rows(pid: Union[int, str] = "self") -> Iterator[tuple[list[str], socket.AddressFamily]]:
    """Yield the columns of each socket in the network of a process, with the family of its addresses. Blocks. A table
    that cannot be read is left out."""
    for name, family in _FAMILIES:
        try:
            with open(f"/proc/{pid}/net/{name}", encoding="ascii") as table:
                lines = table.read().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            yield line.split(), family


def parse(written: str, family: socket.AddressFamily) -> tuple[str, int]:
    """Parse the address and the port of a column: words of 32 bits in the machine's byte order."""
    address, port = written.split(":")
    words = [int(address[start : start + 8], 16) for start in range(0, len(address), 8)]
    return socket.inet_ntop(family, struct.pack(f"={len(words)}I", *words)), int(port, 16)
