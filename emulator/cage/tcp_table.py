"""The kernel's tables of TCP sockets."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from typing import Union

#: Name of the table, and of the line that counts its sockets, which is in the file beside it. IPv4 first: that is what
#: most clients try first.
_FAMILIES = (("tcp", "sockstat", "TCP:", socket.AF_INET), ("tcp6", "sockstat6", "TCP6:", socket.AF_INET6))


def rows(pid: Union[int, str] = "self") -> Iterator[tuple[list[str], socket.AddressFamily]]:
    """Yield the columns of each socket in the network of a process, with the family of its addresses. Blocks. A table
    that cannot be read is left out, and so may be connections that no process has open any more (TIME_WAIT)."""
    for name, counts, label, family in _FAMILIES:
        if _is_empty(f"/proc/{pid}/net/{counts}", label):
            continue
        try:
            with open(f"/proc/{pid}/net/{name}", encoding="ascii") as table:
                lines = table.read().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            yield line.split(), family


def _is_empty(counts: str, label: str) -> bool:
    """Whether no socket is in use. For a table the kernel looks at all of the machine's connections, in all networks,
    and at each place for one: 5 ms on a large machine, also if the table is empty. The counts take microseconds."""
    try:
        with open(counts, encoding="ascii") as file:
            return any(line.split()[:3] == [label, "inuse", "0"] for line in file)
    except OSError:
        return False  # a system without counts


def parse(written: str, family: socket.AddressFamily) -> tuple[str, int]:
    """Parse the address and the port of a column: words of 32 bits in the machine's byte order."""
    address, port = written.split(":")
    words = [int(address[start : start + 8], 16) for start in range(0, len(address), 8)]
    return socket.inet_ntop(family, struct.pack(f"={len(words)}I", *words)), int(port, 16)
