"""The MCP server of every sandbox: opens the sessions of its clients."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..control.clock import Clock
from ..store import Sandbox
from .command_stubs import CommandStubs
from .live_sandboxes import LiveSandboxes
from .recorder import SandboxRecorder
from .sandboxes import Sandboxes

if TYPE_CHECKING:
    from .mcp.session import McpSession


class McpServer:
    def __init__(
        self,
        clock: Clock,
        live: LiveSandboxes,
        sandboxes: Sandboxes,
        command_stubs: CommandStubs,
        recorder: SandboxRecorder,
    ) -> None:
        self._clock = clock
        self._live = live
        self._sandboxes = sandboxes
        self._command_stubs = command_stubs
        self._recorder = recorder

    def open(self, sandbox: Sandbox, read_only: bool = False) -> McpSession:
        """Return a session for one client. `read_only`: without the tools that change something."""
        from .mcp.session import McpSession  # a fifth of the emulator's code, loaded with the first client

        return McpSession(
            self._clock, self._live, self._sandboxes, self._command_stubs, self._recorder, sandbox, read_only
        )
