"""A client of a sandbox's MCP server that hands its messages straight to the session, without a socket."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import Future
from typing import Any, Optional

from emulator_testing import Api
from internals import platform_of

from caged.emulator.control.current_account import acting_for

MODERN = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}
ORDER = [
    "filesystem_read",
    "filesystem_list",
    "filesystem_search",
    "git_status",
    "git_diff",
    "git_log",
    "filesystem_write",
    "filesystem_delete",
    "terminal_exec",
    "git_commit",
    "git_push",
    "network_fetch",
]
MiB = 1024 * 1024


class Mcp:
    def __init__(self, api: Api, sandbox: str, read_only: bool = False) -> None:
        self.emulator = api.emulator
        self.sandbox = sandbox
        platform = platform_of(api.emulator)
        record = platform.store.sandboxes[sandbox]
        self.session = platform.mcp.open(record, read_only)
        self.account = record.account_id

    def start(self, text: str) -> Future[Optional[str]]:
        assert self.emulator._loop is not None
        return asyncio.run_coroutine_threadsafe(self._handle(text), self.emulator._loop)

    async def _handle(self, text: str) -> Optional[str]:
        with acting_for(self.account):
            return await self.session.handle(text)

    def send(self, text: str) -> Any:
        """The reply as JSON, or None; it must fit in a frame."""
        reply = self.start(text).result(60)
        if reply is None:
            return None
        assert len(reply.encode("utf-8")) < MiB
        message = json.loads(reply)
        assert message["jsonrpc"] == "2.0"
        return message

    def request(self, method: str, params: Any = None, id: Any = 1) -> dict[str, Any]:
        message = {"jsonrpc": "2.0", "id": id, "method": method}
        if params is not None:
            message["params"] = params
        reply: dict[str, Any] = self.send(json.dumps(message))
        assert reply["id"] == id
        return reply

    def result(self, method: str, params: Any = None) -> dict[str, Any]:
        reply = self.request(method, params)
        assert "error" not in reply, reply
        result: dict[str, Any] = reply["result"]
        return result

    def error(self, method: str, params: Any = None) -> tuple[int, str]:
        reply = self.request(method, params)
        assert "result" not in reply, reply
        return reply["error"]["code"], reply["error"]["message"]

    def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        return self.result("tools/call", {"name": tool, "arguments": arguments})

    def text(self, tool: str, **arguments: Any) -> str:
        """What a call that must succeed says."""
        result = self.call(tool, **arguments)
        assert "isError" not in result, result
        return text_of(result)

    def failure(self, tool: str, **arguments: Any) -> str:
        """What a call that must fail says."""
        result = self.call(tool, **arguments)
        assert result["isError"] is True, result
        assert "structuredContent" not in result
        return text_of(result)

    def structured(self, tool: str, **arguments: Any) -> Any:
        params = {"name": tool, "arguments": arguments, "_meta": MODERN}
        return self.result("tools/call", params)["structuredContent"]


def text_of(result: dict[str, Any]) -> str:
    (block,) = result["content"]
    assert block["type"] == "text"
    assert block.get("text") != "", "the key is left out when the text is empty"
    text: str = block.get("text", "")
    return text
