"""The server of fake repositories: it is an HTTP proxy for git in a sandbox, and takes the place of ssh.

Git is configured to use it as its proxy (`client_settings.py`). So URLs, credentials, error texts and remotes in the
sandbox are those of the real hosts. For https, the server is the end of the tunnel itself (`certificate.py`). It never
connects to a host.

Where sandboxes share the host's network, any program of the machine can reach its port; so each sandbox has a secret,
which git sends as the proxy's password.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
import re
import socket
import ssl
from typing import Callable, Optional
from urllib.parse import unquote

from .. import descriptors
from ..listener import Listener
from .access import GitClient, basic_credentials
from .certificate import server_context
from .git_process import GitProcesses
from .http_session import HttpSession
from .ssh_session import SshSession

logger = logging.getLogger(__name__)

#: The user in the proxy's URL; the password is the sandbox's secret.
USER = "caged"
HEAD_BYTES = 32 * 1024
HEAD_SECONDS = 30.0
TLS_SECONDS = 30.0
#: Connections of one listening socket at a time; others wait.
CONNECTIONS = 64
_PROTOCOL = re.compile(r"[a-z0-9=.:]{1,60}")
#: The method by which the program in place of ssh announces itself.
SSH = "SSH"


class RepositoryServer:
    """Serves git on listening sockets, for one emulator. Used on its event loop.

    Args:
        client_of: Returns the sandbox that has a secret; None where none has.
    """

    def __init__(self, client_of: Callable[[str], Optional[GitClient]]) -> None:
        self._client_of = client_of
        self._context: Optional[ssl.SSLContext] = None
        self._connections: set[asyncio.Task[None]] = set()

    async def listen(self, listening: socket.socket, label: str = "") -> Listener:
        """Accept connections on a listening socket until the listener is closed. The socket is closed if this fails."""
        try:
            if self._context is None:
                self._context = await asyncio.get_running_loop().run_in_executor(None, server_context)
        except BaseException:
            listening.close()
            raise
        open_here: set[asyncio.Task[None]] = set()
        git = GitProcesses()  # its own, so that a sandbox that does not read what it requests delays no other

        def free_slots() -> int:
            return CONNECTIONS - len(open_here) if descriptors.has_room_for_connection() else 0

        async def connected(sock: socket.socket) -> None:
            reader = asyncio.StreamReader(limit=HEAD_BYTES)

            async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                task = asyncio.current_task()
                assert task is not None
                for tasks in (open_here, self._connections):
                    tasks.add(task)
                    task.add_done_callback(tasks.discard)
                await self._accepted(reader, writer, git)

            protocol = asyncio.StreamReaderProtocol(reader, accepted)
            await asyncio.get_running_loop().connect_accepted_socket(lambda: protocol, sock)

        return Listener(listening, connected, free_slots, f"{label}: repositories" if label else "repositories")

    async def close(self) -> None:
        """End all connections, with their git processes."""
        tasks = list(self._connections)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, git: GitProcesses) -> None:
        try:
            await self._serve(reader, writer, git)
        except (OSError, asyncio.TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # the client has disconnected, or does not send what is expected
        except asyncio.CancelledError:
            writer.transport.abort()  # the emulator stops; the client may never read what is left
        finally:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, git: GitProcesses) -> None:
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), HEAD_SECONDS)
        lines = head.decode("latin-1").split("\r\n")
        words = lines[0].split(" ")
        headers = {
            name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])
        }
        client = self._authenticate(headers.get("proxy-authorization", ""))
        if client is None:
            return await _answer(writer, "407 Proxy Authentication Required", 'Proxy-Authenticate: Basic realm="caged"')
        if len(words) != 3:
            return await _answer(writer, "400 Bad Request")
        method, target, _ = words
        if method == SSH:
            given = headers.get("git-protocol", "")
            await SshSession(reader, writer, client, git).serve(
                unquote(target),
                headers.get("port", ""),
                unquote(headers.get("command", "")),
                given if _PROTOCOL.fullmatch(given) else "",
            )
            with contextlib.suppress(OSError):
                writer.write_eof()
        elif method == "CONNECT":
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            reader, tunnel = await self._start_tls(writer)
            try:
                await HttpSession(reader, tunnel, client, git, target, 443).serve()
            finally:
                tunnel.close()
        else:
            await HttpSession(reader, writer, client, git, received=head).serve()

    def _authenticate(self, authorization: str) -> Optional[GitClient]:
        user, secret = basic_credentials(authorization)
        return self._client_of(secret) if hmac.compare_digest(user.encode(), USER.encode()) and secret else None

    async def _start_tls(self, writer: asyncio.StreamWriter) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Be the end of the tunnel: asyncio has no such method of a stream before Python 3.11."""
        assert self._context is not None
        await writer.drain()
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=HEAD_BYTES)
        protocol = asyncio.StreamReaderProtocol(reader)
        transport = await loop.start_tls(
            writer.transport, protocol, self._context, server_side=True, ssl_handshake_timeout=TLS_SECONDS
        )
        if transport is None:
            raise ConnectionResetError("the client has disconnected")
        protocol.connection_made(transport)
        return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


async def _answer(writer: asyncio.StreamWriter, status: str, *headers: str) -> None:
    lines = [f"HTTP/1.1 {status}", *headers, "Content-Length: 0", "Connection: close", "", ""]
    writer.write("\r\n".join(lines).encode("latin-1"))
    await writer.drain()
