"""Connections to the emulator that the clients of all tests share, so that a test does not open one of its own."""

from __future__ import annotations

import os
import threading
from typing import Optional
from urllib.parse import urlsplit

import httpx
import pytest

from caged._constants import MAX_CONNECTIONS, MAX_KEEPALIVE_CONNECTIONS
from caged._http import is_loopback, no_authorities


class SharedConnections(httpx.BaseTransport):
    """A transport whose connections outlive the clients that close it.

    A connection that breaks, by a fault or otherwise, is dropped and replaced. A forked child has connections of its
    own.
    """

    def __init__(self) -> None:
        self._transport: Optional[httpx.HTTPTransport] = None
        self._pid = os.getpid()
        self._lock = threading.Lock()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return self._of_this_process().handle_request(request)

    def _of_this_process(self) -> httpx.HTTPTransport:
        if self._pid != os.getpid():  # a forked child has one thread at first, and no use for its parent's lock
            self._pid, self._lock, self._transport = os.getpid(), threading.Lock(), None
        with self._lock:
            if self._transport is None:
                self._transport = _new_transport()
            return self._transport

    def close(self) -> None:
        """Keep the connections; a client calls this at its end."""

    def close_all(self) -> None:
        """Close the connections."""
        if self._transport is not None and self._pid == os.getpid():
            self._transport.close()


def _new_transport() -> httpx.HTTPTransport:
    limits = httpx.Limits(max_connections=MAX_CONNECTIONS, max_keepalive_connections=MAX_KEEPALIVE_CONNECTIONS)
    return httpx.HTTPTransport(verify=no_authorities(), limits=limits, trust_env=False)


_CONNECTIONS = pytest.StashKey[SharedConnections]()


def shared_connections(config: pytest.Config, base_url: str) -> Optional[SharedConnections]:
    """The connections of a run; None for an emulator on another machine, or over https: clients then have their own,
    which use the environment's proxies and certificates."""
    parts = urlsplit(base_url)
    if parts.scheme != "http" or not is_loopback(parts.hostname or ""):
        return None
    if _CONNECTIONS not in config.stash:
        config.stash[_CONNECTIONS] = SharedConnections()
        config.add_cleanup(config.stash[_CONNECTIONS].close_all)
    return config.stash[_CONNECTIONS]
