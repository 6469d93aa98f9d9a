"""Network mode `full`: a sandbox can use the host's network, but neither capture its traffic nor change it."""

from __future__ import annotations

import socket

import pytest
from isolation_testing import isolated, python
from levels import Served, has_landlock_scopes

# Writes back the current values, so that a success changes nothing.
ATTEMPTS = """
    import fcntl, json, socket, struct, sys

    def packet(kind):
        socket.socket(socket.AF_PACKET, kind, socket.htons(3)).close()

    def set_again(read, write):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            fcntl.ioctl(sock, write, fcntl.ioctl(sock, read, struct.pack("16s24x", b"lo")))

    def set_option(option):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
            sock.setsockopt(socket.SOL_SOCKET, option, 1)

    attempts = {
        "packet raw": lambda: packet(socket.SOCK_RAW),
        "packet cooked": lambda: packet(socket.SOCK_DGRAM),
        "raw ip": lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP).close(),
        "raw icmp": lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP).close(),
        "raw ip6": lambda: socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_TCP).close(),
        "flags": lambda: set_again(0x8913, 0x8914),
        "mtu": lambda: set_again(0x8921, 0x8922),
        "forced receive buffer": lambda: set_option(33),
        "mark": lambda: set_option(36),
    }
    allowed = []
    for name, attempt in attempts.items():
        try:
            attempt()
            allowed.append(name)
        except OSError:
            pass
    print(json.dumps(allowed))
"""


def test_host_network_is_not_captured_or_changed(isolated: Served) -> None:
    with isolated.sandbox(template="python-312", network_mode="full") as box:
        assert python(isolated, box, ATTEMPTS) == []


def test_host_network_is_not_captured_from_nested_user_namespace(isolated: Served) -> None:
    """A process has all capabilities in its own namespace, but only over that namespace's network."""
    with isolated.sandbox(template="python-312", network_mode="full") as box:
        if not isolated.client.sandboxes.exec(box, "unshare -Ur true").ok:
            pytest.skip("this machine allows no nested user namespace")
        python(isolated, box, ATTEMPTS)
        assert isolated.run(box, "unshare -Ur python3 program.py") == "[]\n"
        shown = isolated.run(box, "unshare -Urn python3 -c 'import socket; print(socket.if_nameindex())'")
        assert "eth" not in shown


def test_abstract_sockets_of_host_cannot_be_reached(isolated: Served) -> None:
    """Needs a kernel with Landlock scopes."""
    if not has_landlock_scopes():
        pytest.skip("this kernel cannot confine abstract sockets")
    name = f"caged-test-{isolated.process.pid}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind("\0" + name)
        listening.listen()
        with isolated.sandbox(template="python-312", network_mode="full") as box:
            program = f"""
                import json, socket
                own = socket.socket(socket.AF_UNIX)
                own.bind(chr(0) + "{name}-own")
                own.listen()
                socket.socket(socket.AF_UNIX).connect(chr(0) + "{name}-own")
                try:
                    socket.socket(socket.AF_UNIX).connect(chr(0) + "{name}")
                    print(json.dumps("connected"))
                except PermissionError:
                    print(json.dumps("refused"))
            """
            assert python(isolated, box, program) == "refused"
