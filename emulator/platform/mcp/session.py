"""The session of one client with the MCP server of one sandbox. Each JSON-RPC message gets at most one reply."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any, Optional

from ...cage.cage import Cage
from ...cage.init_client import SandboxGone
from ...control.clock import Clock
from ...store import Sandbox
from ...truncation import truncate
from ..command_stubs import CommandStubs
from ..errors import ApiError
from ..live_sandboxes import LiveSandboxes
from ..recorder import SandboxRecorder
from ..redaction import redact_secrets
from ..sandboxes import Sandboxes
from . import filesystem, git, network, protocol, terminal
from .protocol import ProtocolError, shorten
from .tool import Tool, ToolContext, ToolError, ToolOutcome

logger = logging.getLogger(__name__)

#: In the order of `tools/list` (wire-other-clients.md 7.2); the last two exist only on the platform.
TOOLS: tuple[Tool, ...] = (
    filesystem.READ,
    filesystem.LIST,
    filesystem.SEARCH,
    git.STATUS,
    git.DIFF,
    git.LOG,
    filesystem.WRITE,
    filesystem.DELETE,
    terminal.EXEC,
    git.COMMIT,
    git.PUSH,
    network.FETCH,
)
#: Calls of tools that one connection runs at a time; more have to wait.
AT_ONCE = 32
_RECORDED_CHARACTERS = 1000


class McpSession:
    """`handle` may be called concurrently. `read_only`: the tools that change something are neither listed nor run."""

    def __init__(
        self,
        clock: Clock,
        live: LiveSandboxes,
        sandboxes: Sandboxes,
        command_stubs: CommandStubs,
        recorder: SandboxRecorder,
        sandbox: Sandbox,
        read_only: bool = False,
    ) -> None:
        self._clock = clock
        self._live = live
        self._command_stubs = command_stubs
        self._recorder = recorder
        self._sandboxes = sandboxes
        self._sandbox = sandbox
        self._read_only = read_only
        self._tools = {tool.name: tool for tool in TOOLS if not (read_only and tool.changes)}
        self._version = protocol.LEGACY[-1]
        #: Calls in progress or waiting by their id as JSON, and those of them that the client has cancelled.
        self._calls: dict[str, asyncio.Task[dict[str, Any]]] = {}
        self._slots: Optional[asyncio.Semaphore] = None  # made in the event loop
        self._cancelled: set[asyncio.Task[dict[str, Any]]] = set()

    async def handle(self, text: str) -> Optional[str]:
        """Return the reply to a message; None when it gets none. Cancelling this kills what a tool was running."""
        try:
            message = protocol.decode(text)
        except ProtocolError as error:
            return protocol.encode(error.as_reply())  # without an id: there was none to be read
        method, identifier = message.get("method"), message.get("id")
        if identifier is None:
            if method == "notifications/cancelled":
                self._cancel(message.get("params"))
            return None
        if method is None:
            if "result" in message or "error" in message:
                return None  # a reply, and this server sends no requests
            method = ""
        reply: Optional[dict[str, Any]]
        try:
            if not isinstance(method, str):
                raise ProtocolError(protocol.INVALID_REQUEST, "Invalid Request: method must be a string")
            result = await self._answer(method, message.get("params"), identifier)
            reply = None if result is None else {"result": result}
        except ProtocolError as error:
            reply = error.as_reply()
        except Exception:
            logger.exception("MCP %s failed", method)
            reply = ProtocolError(
                protocol.INTERNAL_ERROR, "Internal error: the emulator's log has the traceback. Please report it."
            ).as_reply()
        return None if reply is None else protocol.encode({"id": identifier, **reply})

    async def _answer(self, method: str, params: Any, identifier: Any) -> Optional[dict[str, Any]]:
        """Return the result; None when the client has cancelled its request."""
        if method == "initialize":
            self._version = protocol.negotiate(params)
            return protocol.initialized(self._version)
        version = protocol.version_of(params, self._version)
        if method == "server/discover":
            return protocol.discovered()
        if method == "ping":
            return protocol.in_version({}, version)
        if method == "tools/list":
            described = [tool.described(version) for tool in self._tools.values()]
            return protocol.in_version({"tools": described}, version, cached=True)
        if method == "tools/call":
            return await self._cancellable(params, version, json.dumps(identifier, sort_keys=True))
        raise ProtocolError(protocol.METHOD_NOT_FOUND, f"Method not found: {shorten(method)}")

    # --- calls of tools

    def _cancel(self, params: Any) -> None:
        identifier = params.get("requestId") if isinstance(params, dict) else None
        task = self._calls.get(json.dumps(identifier, sort_keys=True))
        if task is not None:
            self._cancelled.add(task)
            task.cancel()

    async def _cancellable(self, params: Any, version: str, identifier: str) -> Optional[dict[str, Any]]:
        task = asyncio.ensure_future(self._in_turn(params, version))
        self._calls[identifier] = task
        try:
            return await task
        except asyncio.CancelledError:
            if task in self._cancelled:
                return None
            raise
        finally:
            self._cancelled.discard(task)
            if self._calls.get(identifier) is task:
                del self._calls[identifier]

    async def _in_turn(self, params: Any, version: str) -> dict[str, Any]:
        if self._slots is None:
            self._slots = asyncio.Semaphore(AT_ONCE)
        async with self._slots:
            return await self._call(params, version)

    async def _call(self, params: Any, version: str) -> dict[str, Any]:
        if not isinstance(params, dict):
            raise ProtocolError(protocol.INVALID_PARAMS, "Invalid params")
        name = params.get("name")
        if name is None or name == "":
            raise ProtocolError(protocol.INVALID_PARAMS, "Invalid params: name is required")
        if not isinstance(name, str):
            raise ProtocolError(protocol.INVALID_PARAMS, "Invalid params: name must be a string")
        tool = self._tools.get(name)
        if tool is None:
            if self._read_only and any(name == other.name for other in TOOLS):
                logger.info("%s: MCP tool %s was refused because the API key is read-only", self._sandbox.id, name)
            raise ProtocolError(protocol.INVALID_PARAMS, f"Unknown tool: {shorten(name)}")
        start = self._clock.stopwatch()
        try:
            outcome = await self._run(tool, params.get("arguments"))
        except ToolError as error:
            outcome = ToolOutcome(str(error), is_error=True)
        self._record(tool, params.get("arguments"), outcome, (self._clock.stopwatch() - start) * 1000)
        return protocol.in_version(outcome.as_result(version), version)

    async def _run(self, tool: Tool, arguments: Any) -> ToolOutcome:
        sandbox = self._sandbox
        self._cage()
        given = tool.checked(arguments)
        async with self._sandboxes.active(sandbox):
            try:
                async with self._live.of(
                    sandbox
                ).workspace_lock:  # a snapshot, a restore or a pause in progress comes first
                    context = self._context()
                    if tool.locks_workspace:
                        return await tool.run(context, given)
                return await tool.run(context, given)
            except SandboxGone as error:
                raise ToolError(f"sandbox {sandbox.id} cannot run tools: {error}") from None

    def _cage(self) -> Cage:
        """Raise ToolError when the sandbox is not running."""
        try:
            return self._sandboxes.running_cage(self._sandbox)
        except ApiError as error:
            raise ToolError(error.detail) from None

    def _context(self) -> ToolContext:
        return ToolContext(self._sandbox, self._cage(), self._clock, self._recorder, self._command_stubs)

    def _record(self, tool: Tool, arguments: Any, outcome: ToolOutcome, milliseconds: float) -> None:
        recorded = {}
        if isinstance(arguments, dict):
            recorded = {
                name: self._recorded_value(value) for name, value in arguments.items() if name in tool.properties
            }
        data = {"tool": tool.name, "arguments": recorded, "is_error": outcome.is_error}
        step = self._recorder.record_event(self._sandbox, "tool_call", data, milliseconds)
        if step is not None and outcome.is_error:
            self._recorder.note_failure(self._sandbox, step, outcome.text)

    def _redact(self, value: Any) -> Any:
        """Redact secrets in a structure, before JSON escapes some of their characters."""
        if isinstance(value, str):
            return redact_secrets(self._sandbox, value)
        if isinstance(value, dict):
            return {redact_secrets(self._sandbox, str(name)): self._redact(inner) for name, inner in value.items()}
        return [self._redact(inner) for inner in value] if isinstance(value, list) else value

    def _recorded_value(self, value: Any) -> Any:
        """Return an argument as it is recorded: redacted, valid Unicode, and short."""
        if isinstance(value, (bool, int)):
            return value
        text = value if isinstance(value, str) else json.dumps(self._redact(value), ensure_ascii=False)
        text = redact_secrets(self._sandbox, text)
        text = text.encode("utf-8", "replace").decode("utf-8")
        return truncate(text, _RECORDED_CHARACTERS, " …")
