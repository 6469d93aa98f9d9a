"""The HTTP proxy of a sandbox with an allowlist: its only way to other hosts, and only to those that are listed.

The sandbox's init has made its listening socket in the sandbox's own network; the connections that it opens are the
emulator's, on the host's network.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import re
import socket
from collections.abc import Sequence
from http import HTTPStatus
from typing import Callable, Optional
from urllib.parse import urlsplit

from .. import descriptors
from ..listener import Listener

#: The port of the proxy inside the sandbox.
PORT = 49128
URL = f"http://127.0.0.1:{PORT}"
HEAD_LIMIT = 64 * 1024
HEAD_SECONDS = 30.0
CONNECT_SECONDS = 30.0
DISCARD_SECONDS = 1.0
#: Connections of one sandbox at a time; others wait.
CONNECTIONS = 256
_WEB_PORTS = (80, 443)
#: One label of a host name: letters, digits and hyphens; underscores, because names in use have them.
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", re.IGNORECASE)
_NAME_LENGTH = 253
_VERSION = re.compile(r"HTTP/1\.[0-9]")
_USAGE = "this is the sandbox's proxy: it takes CONNECT host:port and http:// addresses"

ENVIRONMENT = {
    **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), URL),
    **dict.fromkeys(("NO_PROXY", "no_proxy"), "localhost,127.0.0.1,::1"),
}


def allowed(allowlist: Sequence[str], host: str, port: int) -> bool:
    """Return whether a host may be reached.

    Args:
        allowlist: Entries `host`, `*.host` for everything below it, `host:port` or `*.host:port`.
        host: The host name or address.
        port: The port; without one in the entry, 80 and 443 are allowed.
    """
    host = host.lower().rstrip(".")
    for entry in allowlist:
        name, colon, only = entry.strip().lower().rpartition(":")
        if not colon or not only.isdigit() or name.endswith(":"):
            name, only = entry.strip().lower(), ""
        name = name.rstrip(".").strip("[]")
        if (port != int(only)) if only else (port not in _WEB_PORTS):
            continue
        if host == name or (name.startswith("*.") and host.endswith(name[1:]) and host != name[2:]):
            return True
    return False


class Proxy:
    """The proxy of one sandbox.

    Args:
        allowlist: See `allowed`.
        on_refused: Called with host and port of every attempt that was refused.
        log: Writes to the emulator's log.
        relayed: Receives the local addresses of the connections that are open.
    """

    def __init__(
        self,
        allowlist: Sequence[str],
        on_refused: Callable[[str, int], None],
        label: str = "",
        relayed: Optional[set[tuple[str, int]]] = None,
    ) -> None:
        self._allowlist = tuple(allowlist)
        self._on_refused = on_refused
        self._label = f"{label}: proxy" if label else "proxy"
        self._relayed = set() if relayed is None else relayed
        self._listener: Optional[Listener] = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self, listening: socket.socket) -> None:
        self._listener = Listener(listening, self._connected, self._free_slots, self._label)

    def close(self) -> None:
        if self._listener is not None:
            self._listener.close()
        for task in self._connections:
            task.cancel()

    def _free_slots(self) -> int:
        return CONNECTIONS - len(self._connections) if descriptors.has_room_for_connection() else 0

    async def _connected(self, sock: socket.socket) -> None:
        reader = asyncio.StreamReader(limit=HEAD_LIMIT)
        protocol = asyncio.StreamReaderProtocol(reader, self._accepted)
        await asyncio.get_running_loop().connect_accepted_socket(lambda: protocol, sock)

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            await self._serve(reader, writer)
        except (OSError, asyncio.TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # the client or the server has disconnected
        except asyncio.CancelledError:
            pass  # the sandbox has ended
        finally:
            self._connections.discard(task)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), HEAD_SECONDS)
        except asyncio.LimitOverrunError:
            _answer(writer, 431, f"the request's head is larger than {HEAD_LIMIT // 1024} KiB")
            await _discard(reader, writer)
            return
        except asyncio.TimeoutError:
            _answer(writer, 408, f"the request's head did not arrive within {HEAD_SECONDS:g} s")
            return
        try:
            method, target, version = _request_line(head)
            host, port, path = _destination(method, target)
        except ValueError as error:
            _answer(writer, 400, f"{error}; {_USAGE}")
            return
        if not allowed(self._allowlist, host, port):
            self._on_refused(host, port)
            _answer(writer, 403, f"{host}:{port} is not on the sandbox's allowlist")
            return
        try:
            opening = asyncio.open_connection(host, port, limit=HEAD_LIMIT)
            far_reader, far_writer = await asyncio.wait_for(opening, CONNECT_SECONDS)
        except (OSError, ValueError, asyncio.TimeoutError) as error:
            # ValueError: the resolver refuses a name that was taken for one here.
            _answer(writer, 502, f"{host}:{port} cannot be reached: {error or 'no answer'}")
            return
        local = far_writer.get_extra_info("sockname")[:2]
        self._relayed.add(local)
        try:
            if method == "CONNECT":
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                far_writer.write(_forwarded(head, method, path, version))
            await _pump_both((reader, writer), (far_reader, far_writer))
        finally:
            far_writer.close()
            self._relayed.discard(local)


def _request_line(head: bytes) -> tuple[str, str, str]:
    """Return method, target and version. Raises ValueError for what is not HTTP/1."""
    words = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
    if len(words) != 3 or not _VERSION.fullmatch(words[2]) or not all(re.fullmatch(r"[!-~]+", word) for word in words):
        raise ValueError("the request line is not that of an HTTP/1.1 request")
    return words[0], words[1], words[2]


def _destination(method: str, target: str) -> tuple[str, int, str]:
    """Return host, port and path. Raises ValueError, with the reason, for an address that the proxy does not accept."""
    url = urlsplit(f"//{target}" if method == "CONNECT" else target)
    if not url.hostname or (method == "CONNECT" and url.port is None):
        raise ValueError(f"{target[:300]!r} has no host, or no port")
    if method != "CONNECT" and url.scheme != "http":
        raise ValueError(f"{target[:300]!r} is not an http:// address")
    _check_host(url.hostname)
    path = (url.path or "/") + (f"?{url.query}" if url.query else "")
    return url.hostname, 80 if url.port is None else url.port, path


def _check_host(host: str) -> None:
    """Raise ValueError for what is neither an address nor a host name that a resolver accepts."""
    try:
        ipaddress.ip_address(host.partition("%")[0])
        return
    except ValueError:
        pass
    name = host[:-1] if host.endswith(".") else host
    for label in name.split("."):
        if not _LABEL.fullmatch(label):
            raise ValueError(
                f"{host[:300]!r} is not a host name: a label has 1 to 63 ASCII letters, digits and hyphens, and other"
                " letters are written in punycode (xn--...)"
            )
    if len(name) > _NAME_LENGTH:
        raise ValueError(f"the host name is longer than {_NAME_LENGTH} characters")


def _forwarded(head: bytes, method: str, path: str, version: str) -> bytes:
    """Return the request head for the server. A connection is closed after one request, so that each is checked."""
    kept = [
        line
        for line in head.split(b"\r\n")[1:]
        if line
        and line.partition(b":")[0].strip().lower() not in (b"connection", b"proxy-connection", b"keep-alive")
        and not line.lower().startswith(b"proxy-auth")
    ]
    return b"\r\n".join([f"{method} {path} {version}".encode("latin-1"), *kept, b"Connection: close", b"", b""])


def _answer(writer: asyncio.StreamWriter, status: int, text: str) -> None:
    body = f"{text}\n".encode("utf-8", "replace")
    head = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Type: text/plain; charset=utf-8\r\n"
    writer.write(f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode("latin-1") + body)


async def _discard(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read what the client still sends, for a while: to close with unread data would discard the answer."""
    writer.write_eof()
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(_read_to_end(reader), DISCARD_SECONDS)


async def _read_to_end(reader: asyncio.StreamReader) -> None:
    while await reader.read(HEAD_LIMIT):
        pass


_Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def _pump_both(near: _Ends, far: _Ends) -> None:
    """Copy bytes both ways until both sides have ended; half-closed connections stay half open."""
    await asyncio.gather(_pump(near[0], far[1]), _pump(far[0], near[1]))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            data = await reader.read(HEAD_LIMIT)
            if not data:
                break
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
    except OSError:
        writer.close()
