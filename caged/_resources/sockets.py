"""What sandboxes do over WebSockets. Nothing of `_sockets` is loaded before it is called."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Optional

from .._http import AsyncSession, Session
from .._observation import observing
from .._settings import Settings
from .._tracebacks import short_tracebacks
from .tickets import credential

if TYPE_CHECKING:
    from .._sockets.channel import AsyncChannel, Channel
    from .._sockets.exec_output import ExecOutput
    from .._sockets.exec_stream import ExecStream
    from .._sockets.mcp import MCPClient
    from .._sockets.run import Run
    from .._sockets.target import Target
    from .._sockets.terminal import TerminalSession


@short_tracebacks
class SocketMethods:
    """The coroutines of ``caged.sandboxes``, the same on both clients."""

    @property
    def _settings(self) -> Settings:
        raise NotImplementedError

    async def _credential(self) -> str:
        raise NotImplementedError

    async def terminal(self, sandbox_id: str, rows: int = 24, cols: int = 80) -> TerminalSession:
        """Open a terminal with a login shell in it: ``async with await caged.sandboxes.terminal(...) as tty``.

        Raises:
            CagedNotFoundError: No such sandbox.
            CagedAPIError: 409, it is not running.
        """
        from .._sockets import target
        from .._sockets.terminal import TerminalSession

        return TerminalSession(await self._open(target.terminal(sandbox_id, rows, cols)))

    async def exec_stream(self, sandbox_id: str, command: str, *, timeout: Optional[float] = None) -> ExecStream:
        """Start a command and read its output while it runs: ``async for text in stream``.

        The command is typed into a shell of its own, in ``/workspace``; it must not read its input.

        Args:
            timeout: Seconds the command may take; None, the default, means no limit.

        Raises:
            CagedNotFoundError: No such sandbox.
            CagedAPIError: 409, it is not running.
        """
        stream = self._stream(sandbox_id, command, timeout)
        await stream.start()
        return stream

    async def mcp(self, sandbox_id: str) -> MCPClient:
        """Connect to the sandbox's MCP server: ``async with await caged.sandboxes.mcp(...) as mcp``.

        Raises:
            CagedNotFoundError: No such sandbox.
            CagedAPIError: 409, it is not running.
            MCPError: The server refuses the client.
        """
        from .._sockets import target
        from .._sockets.mcp import MCPClient

        client = MCPClient(await self._open(target.mcp(sandbox_id)), self._settings.timeout)
        try:
            await client.initialize()
        except BaseException:
            await client.close()
            raise
        return client

    def _stream(self, sandbox_id: str, command: str, timeout: Optional[float]) -> ExecStream:
        from .._sockets.exec_stream import ExecStream

        run = _run(self._settings, sandbox_id, command, timeout)
        return ExecStream(run, partial(self._open, run.target))

    async def _open(self, target: Target) -> AsyncChannel:
        from .._sockets.opening import open_async

        with observing(self._settings, target.path, target.query):
            return await open_async(self._settings, target, await self._credential())


@short_tracebacks
class Sockets(SocketMethods):
    """The socket methods of `Caged`."""

    _session: Session

    @property
    def _settings(self) -> Settings:
        return self._session.settings

    async def _credential(self) -> str:
        import asyncio

        # The client blocks; the event loop is the caller's.
        return await asyncio.to_thread(self._session.run, credential(self._settings))

    def stream(self, sandbox_id: str, command: str, *, timeout: Optional[float] = None) -> ExecOutput:
        """Run a command and read its output while it runs: ``for text in caged.sandboxes.stream(...)``.

        The command starts when the first piece is read. It is typed into a shell of its own, in ``/workspace``, and
        must not read its input. ``exit_code`` is set once the output has ended.

        Args:
            timeout: Seconds the command may take; None, the default, means no limit.
        """
        from .._sockets.exec_output import ExecOutput

        run = _run(self._settings, sandbox_id, command, timeout)
        return ExecOutput(run, partial(self._open_blocking, run.target))

    def _open_blocking(self, target: Target) -> Channel:
        from .._sockets.opening import open_sync

        with observing(self._settings, target.path, target.query):
            return open_sync(self._settings, target, self._session.run(credential(self._settings)))


@short_tracebacks
class AsyncSockets(SocketMethods):
    """The socket methods of `AsyncCaged`."""

    _session: AsyncSession

    @property
    def _settings(self) -> Settings:
        return self._session.settings

    async def _credential(self) -> str:
        return await self._session.run(credential(self._settings))

    def stream(self, sandbox_id: str, command: str, *, timeout: Optional[float] = None) -> ExecStream:
        """See `Sockets.stream`; for ``async for``, without ``await`` before it."""
        return self._stream(sandbox_id, command, timeout)


def _run(settings: Settings, sandbox_id: str, command: str, timeout: Optional[float]) -> Run:
    from .._sockets.run import Run
    from .._sockets.target import quiet_shell

    return Run(quiet_shell(sandbox_id), command, timeout, settings.timeout)
