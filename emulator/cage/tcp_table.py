"""The kernel's tables of TCP sockets."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from typing import Optional, Union

#: Names of the tables, each with its file of counts and the first word of its line there. IPv4 first: that is what most
#: clients try first.
_FAMILIES = (
    ("tcp", socket.AF_INET, "sockstat", "TCP:"),
    ("tcp6", socket.AF_INET6, "sockstat6", "TCP6:"),
)
LISTEN = "0A"
_PIECE = 4096


def rows(
    pid: Union[int, str] = "self", only_listening: bool = False
) -> Iterator[tuple[list[str], socket.AddressFamily]]:
    """Yield the columns of each socket in the network of a process, with the family of its addresses. Blocks. A table
    that cannot be read is left out.

    Args:
        only_listening: Leave out most or all of those that do not listen. For the others, the kernel goes through a
            table with a place for each socket that the machine may have, which takes milliseconds.
    """
    for name, family, counts, word in _FAMILIES:
        count = _count(f"/proc/{pid}/net/{counts}", word)
        if count == 0:  # of those that processes have: others are of no use
            continue
        try:
            # Where there are counts, the kernel is Linux, whose tables begin with the sockets that listen.
            lines = _lines(f"/proc/{pid}/net/{name}", only_listening and count is not None)
        except OSError:
            continue
        for line in lines:
            yield line.split(), family


def _lines(path: str, only_first: bool) -> list[str]:
    """Return the lines of a table but its title; if `only_first`, up to one of a socket that does not listen."""
    written = b""
    with open(path, "rb", buffering=0) as table:
        while piece := table.read(_PIECE):
            written += piece
            whole = written.rpartition(b"\n")[0].splitlines()
            if only_first and len(whole) > 1 and whole[-1].split()[3].decode() != LISTEN:
                break
    return written.decode("ascii").splitlines()[1:]


def _count(path: str, word: str) -> Optional[int]:
    """Return the number of sockets in use; None where it is not known."""
    try:
        with open(path, encoding="ascii") as counts:
            for line in counts:
                words = line.split()
                if words[:2] == [word, "inuse"]:
                    return int(words[2])
    except (OSError, ValueError, IndexError):
        pass
    return None


def parse(written: str, family: socket.AddressFamily) -> tuple[str, int]:
    """Parse the address and the port of a column: words of 32 bits in the machine's byte order."""
    address, port = written.split(":")
    words = [int(address[start : start + 8], 16) for start in range(0, len(address), 8)]
    return socket.inet_ntop(family, struct.pack(f"={len(words)}I", *words)), int(port, 16)
