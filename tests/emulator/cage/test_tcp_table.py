"""Sockets in the kernel's tables."""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack

import pytest

from caged.emulator.cage import tcp_table


def open_sockets() -> set[str]:
    """Return the inodes in the tables of this process's network."""
    return {columns[9] for columns, _ in tcp_table.rows()}


def inode_of(sock: socket.socket) -> str:
    return str(os.fstat(sock.fileno()).st_ino)


@pytest.mark.parametrize(
    ("bound", "to"), [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("::", "::1"), ("::", "127.0.0.1")]
)
def test_listening_socket_and_both_ends_of_a_connection_are_in_a_table(bound: str, to: str) -> None:
    """An IPv4 client of a socket that listens on both families is in the table of IPv6 at one end only."""
    with ExitStack() as closing:
        family = socket.AF_INET6 if ":" in bound else socket.AF_INET
        listening = closing.enter_context(socket.socket(family))
        try:
            listening.bind((bound, 0))
        except OSError:
            pytest.skip("this machine has no IPv6")
        listening.listen()
        client = closing.enter_context(socket.create_connection((to, listening.getsockname()[1]), 60))
        accepted = closing.enter_context(listening.accept()[0])
        sockets = {inode_of(one) for one in (listening, client, accepted)}
        assert sockets <= open_sockets()
    assert not sockets & open_sockets()


def test_tables_without_counts_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not every system that has the tables has the counts."""
    families = [(name, family, "missing", word) for name, family, _, word in tcp_table._FAMILIES]
    monkeypatch.setattr(tcp_table, "_FAMILIES", families)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        assert inode_of(listening) in open_sockets()
