"""The peer of a TCP connection on this machine: a sandbox, or a process outside all sandboxes.

A sandbox with network `full` shares the host's loopback, so its address does not identify it. The kernel's tables do:
they name the socket, and /proc names the processes that have it open. Everything here blocks and is meant for a thread.
"""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Collection, Container, Mapping
from dataclasses import dataclass
from typing import Optional, Union

from . import tcp_table
from .ports import sockets_of

Address = tuple[str, int]
_Ip = Union[ipaddress.IPv4Address, ipaddress.IPv6Address]
_Key = tuple[_Ip, int, _Ip, int]


@dataclass(frozen=True)
class Peer:
    """The process at the other end of a connection.

    Attributes:
        is_host: Whether it is certain that a process outside every sandbox has the connection, and that no sandbox has.
        sandbox: The id of the sandbox that has it; "" when none has, or when it is not known which.
        why: What is known, for people.
    """

    is_host: bool
    sandbox: str
    why: str


def peer_of(
    client: Address, server: Address, zygote: Optional[int], inits: Mapping[str, int], relayed: Container[Address]
) -> Peer:
    """Find the peer of a connection.

    Args:
        client: The address at its other end.
        server: The address at ours.
        zygote: The process below which every sandbox is.
        inits: Sandboxes' ids with their first processes, which are below the zygote.
        relayed: The local addresses of connections that this process opens on behalf of sandboxes.

    Returns:
        The peer. In every case of doubt it is not the host: when the process has closed the connection, is not visible
        to this user, or has just passed it to another.
    """
    if _plain(client) in relayed:
        return Peer(False, "", "a sandbox's proxy")
    if zygote is None or not os.path.exists(f"/proc/{zygote}"):
        # Processes that a dead zygote has left cannot be identified.
        return Peer(False, "", "a process that may be a sandbox's")
    found = _socket_of(client, server)
    if found is None:
        return Peer(False, "", "a process that has closed the connection")
    inode, user = found
    outside = False
    for name in os.listdir("/proc"):
        if not name.isdigit() or inode not in set(sockets_of(int(name))):
            continue
        ancestors = _ancestors(int(name))
        if ancestors is None:
            return Peer(False, "", "a process that has ended")
        if zygote in ancestors:
            of = next((identifier for identifier, init in inits.items() if init in ancestors), "")
            return Peer(False, of, f"sandbox {of}" if of else "a process of the emulator's sandboxes")
        outside = True
    if outside:
        return Peer(True, "", "this machine")
    if user == 0 and os.geteuid() != 0:
        return Peer(True, "", "this machine's root")  # sandboxes of an ordinary user's emulator do not run as root
    return Peer(False, "", "a process that this user cannot see")


def open_clients(connections: Collection[tuple[Address, Address]]) -> set[tuple[Address, Address]]:
    """Return those of the connections whose client's socket is open in a process of this machine.

    Args:
        connections: The addresses of each client and of our end.
    """
    wanted: dict[_Key, tuple[Address, Address]] = {}
    for ends in connections:
        client, server = ends
        try:
            wanted[_ip(client[0]), client[1], _ip(server[0]), server[1]] = ends
        except ValueError:
            continue  # not a connection over IP
    ports = {f"{key[1]:04X}" for key in wanted}
    found = set()
    for columns, family in tcp_table.rows():
        if columns[1][-4:] in ports and columns[9] != "0":
            ends_or_none = wanted.get(_key(columns, family))
            if ends_or_none is not None:
                found.add(ends_or_none)
    return found


def _plain(address: Address) -> Address:
    return str(_ip(address[0])), address[1]


def _ip(text: str) -> _Ip:
    """Parse an address; an IPv4-mapped IPv6 address becomes the IPv4 address."""
    ip = ipaddress.ip_address(text.partition("%")[0])
    return ip.ipv4_mapped or ip if isinstance(ip, ipaddress.IPv6Address) else ip


def _socket_of(client: Address, server: Address) -> Optional[tuple[str, int]]:
    """Return inode and user of the client's socket; None when no process has it."""
    wanted = _ip(client[0]), client[1], _ip(server[0]), server[1]
    port = f":{client[1]:04X}"
    for columns, family in tcp_table.rows():
        if columns[1].endswith(port) and _key(columns, family) == wanted and columns[9] != "0":
            return columns[9], int(columns[7])
    return None


def _key(columns: list[str], family: socket.AddressFamily) -> _Key:
    return (*_end(columns[1], family), *_end(columns[2], family))


def _end(written: str, family: socket.AddressFamily) -> tuple[_Ip, int]:
    address, port = tcp_table.parse(written, family)
    return _ip(address), port


def _ancestors(pid: int) -> Optional[set[int]]:
    """Return a process and all its ancestors; None when one of them has ended."""
    found: set[int] = set()
    while pid > 0 and pid not in found:
        found.add(pid)
        try:
            with open(f"/proc/{pid}/stat", "rb") as stat:
                pid = int(stat.read().rpartition(b")")[2].split()[1])
        except (OSError, IndexError, ValueError):
            return None
    return found
