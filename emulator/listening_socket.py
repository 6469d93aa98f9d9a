"""The socket on which the emulator listens, and its URL."""

from __future__ import annotations

import socket

from .config import ConfigError, EmulatorConfig

BACKLOG = 512


def bind(config: EmulatorConfig) -> socket.socket:
    """Make the listening socket, so that a port in use is reported at once and port 0 is resolved at once.

    Raises:
        ConfigError: The host or the port cannot be used.
    """
    try:
        family, kind, proto, _name, address = socket.getaddrinfo(
            config.host, config.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        sock = socket.socket(family, kind, proto)
    except OSError as error:
        raise ConfigError(f"cannot listen on {config.host!r}: {error}") from error
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise ConfigError(
            f"cannot listen on {config.host}:{config.port}: {error.strerror}; choose another port, or 0 for a free one"
        ) from error
    return sock


def url_of(sock: socket.socket) -> str:
    """The base URL under which a listening socket is reached from this machine."""
    host, port = sock.getsockname()[:2]
    if host in ("0.0.0.0", "::"):
        host = "127.0.0.1" if host == "0.0.0.0" else "::1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
