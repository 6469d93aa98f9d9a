"""The sandbox's own network. Its sockets are made inside, because a socket belongs to the network in which it was made;
the emulator uses them outside."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct


def loopback_up() -> None:
    """Switch the loopback interface on."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        up = struct.pack("16sH14s", b"lo", 1 | 64, b"")  # IFF_UP | IFF_RUNNING
        fcntl.ioctl(sock, 0x8914, up)  # SIOCSIFFLAGS


def listen_on_loopback(port: int) -> socket.socket:
    """Return a socket that listens for clients of the emulator in the sandbox. `port`: 0 for a free one."""
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.bind(("127.0.0.1", port))
    listening.listen(64)
    return listening


def start_to_connect(host: str, port: int) -> socket.socket:
    """Return a non-blocking socket that is connecting. Raises OSError when it fails at once."""
    connection = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    connection.setblocking(False)
    error = connection.connect_ex((host, port))
    if error not in (0, errno.EINPROGRESS):
        connection.close()
        raise OSError(error, os.strerror(error))
    return connection
