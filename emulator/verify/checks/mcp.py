"""The MCP server of a sandbox."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Optional

from ..assertions import assert_equal, assert_error_code, assert_shape, assert_true, shorten
from ..check import Group
from ..context import Context
from ..errors import Mismatch
from ..raw_client import Socket
from ..shapes import TOOL

group = Group("mcp")

_LIMIT = 4 * 1024 * 1024
_TOOLS = "wire-other-clients 7.2"


def _content(text: str) -> list[dict[str, str]]:
    return [{"type": "text", "text": text}]


class Conversation:
    """Requests with the ids 1, 2, 3, as the platform's clients number them."""

    def __init__(self, socket: Socket) -> None:
        self.socket = socket
        self._last = 0

    def send(self, method: str, params: Optional[dict[str, Any]] = None) -> int:
        self._last += 1
        self.socket.send({"jsonrpc": "2.0", "id": self._last, "method": method, "params": params or {}})
        return self._last

    def receive(self) -> dict[str, Any]:
        """The next message that is no notification."""
        while True:
            message = self.socket.receive()
            if not isinstance(message, dict):
                raise Mismatch("a JSON-RPC message", shorten(repr(message)))
            if "method" not in message:
                return message

    def ask(self, method: str, params: Optional[dict[str, Any]] = None) -> dict[str, Any]:
        """The whole reply."""
        identifier = self.send(method, params)
        reply = self.receive()
        assert_equal("id", reply.get("id"), identifier)
        return reply

    def result(self, method: str, params: Optional[dict[str, Any]] = None) -> dict[str, Any]:
        result = self.ask(method, params).get("result")
        if not isinstance(result, dict):
            raise Mismatch("a result", shorten(repr(result)))
        return result

    def tool(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """The whole result of a tool."""
        return self.result("tools/call", {"name": tool, "arguments": arguments})

    def call(self, tool: str, **arguments: Any) -> str:
        """The text that a tool gives."""
        result = self.tool(tool, **arguments)
        try:
            return "".join(str(block.get("text", "")) for block in result["content"])
        except (KeyError, TypeError, AttributeError):
            raise Mismatch("content with a text", shorten(repr(result))) from None

    def initialize(self) -> dict[str, Any]:
        client = {"name": "caged-python", "version": "0.3.0"}
        return self.result("initialize", {"protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": client})


@contextmanager
def _talking(context: Context) -> Iterator[Conversation]:
    with context.socket("mcp") as socket:
        yield Conversation(socket)


@group.contract("subprotocol", "The subprotocol mcp is echoed, or none.", "wire-contract 4.1")
def subprotocol(context: Context) -> None:
    with _talking(context) as talk:
        assert_true(talk.socket.subprotocol in (None, "mcp"), "mcp", repr(talk.socket.subprotocol))


@group.contract("initialize", "initialize answers the protocol's version and the server's name.", "wire-contract 4.4")
def initialize(context: Context) -> None:
    with _talking(context) as talk:
        found = talk.initialize()
        assert_equal("protocolVersion", found.get("protocolVersion"), "2024-11-05")
        assert_shape(found, {"capabilities": dict, "serverInfo": {"name": str, "version": str}})


@group.contract("tools", "Tools are listed with name, description and schema.", "wire-contract 4.4")
def tools(context: Context) -> None:
    with _talking(context) as talk:
        talk.initialize()  # and no notifications/initialized, which the platform's clients do not send
        found = talk.result("tools/list").get("tools")
        assert_true(isinstance(found, list) and found, "some tools", repr(found))
        for tool in found:  # type: ignore[union-attr]
            assert_shape(tool, TOOL)


@group.contract("tool-names", "Among them are filesystem_read and terminal_exec.", "wire-contract 4.4")
def tool_names(context: Context) -> None:
    with _talking(context) as talk:
        talk.initialize()
        names = [tool.get("name") for tool in talk.result("tools/list").get("tools", ())]
        assert_true({"filesystem_read", "terminal_exec"} <= set(names), "filesystem_read, terminal_exec", names)


@group.contract("terminal-exec", "terminal_exec runs a command in the sandbox.", "wire-contract 4.4")
def terminal_exec(context: Context) -> None:
    with _talking(context) as talk:
        talk.initialize()
        text = talk.call("terminal_exec", command="echo from $((6 * 7))")
        assert_true("from 42" in text, "a text with `from 42`", text)


@group.contract("filesystem-read", "filesystem_read reads a file of the sandbox.", "wire-contract 4.4")
def filesystem_read(context: Context) -> None:
    path = context.write_new_file("read by MCP\n")
    with _talking(context) as talk:
        talk.initialize()
        text = talk.call("filesystem_read", path=path)
        assert_true("read by MCP" in text, "the file's text", text)


@group.contract("jsonrpc", "Every reply says that it is JSON-RPC 2.0.", "wire-contract 4.4")
def jsonrpc(context: Context) -> None:
    with _talking(context) as talk:
        for method in ("ping", "caged/verify"):  # a result, and an error
            assert_equal("jsonrpc", talk.ask(method).get("jsonrpc"), "2.0")


@group.contract("integer-ids", "A reply has the very id of its request, an integer.", "wire-contract 4.4")
def integer_ids(context: Context) -> None:
    with _talking(context) as talk:
        talk.initialize()
        ids = [talk.ask("ping").get("id"), talk.ask("tools/list").get("id")]
        assert_equal("ids", ids, [2, 3])


@group.contract("ping", "ping is answered with an empty result.", "wire-contract 4.4")
def ping(context: Context) -> None:
    with _talking(context) as talk:
        talk.initialize()
        assert_equal("result", talk.ask("ping").get("result"), {})


@group.contract("unknown-method", "An unknown method is error -32601.", "platform-behaviour B16")
def unknown_method(context: Context) -> None:
    with _talking(context) as talk:
        talk.initialize()
        assert_error_code(talk.ask("caged/verify"), -32601)


@group.contract("unknown-tool", "An unknown tool is error -32602.", "platform-behaviour B16")
def unknown_tool(context: Context) -> None:
    with _talking(context) as talk:
        talk.initialize()
        assert_error_code(talk.ask("tools/call", {"name": "caged_verify_none", "arguments": {}}), -32602)


@group.contract("parse-error", "What is no JSON is error -32700, and the socket lives on.", "platform-behaviour B16")
def parse_error(context: Context) -> None:
    with _talking(context) as talk:
        talk.initialize()
        talk.socket.send("{nonsense")
        assert_error_code(talk.receive(), -32700)
        talk.ask("ping")


@group.contract("tool-failure", "A tool that fails is a result with isError, no error.", "wire-contract 4.4")
def tool_failure(context: Context) -> None:
    with _talking(context) as talk:
        talk.initialize()
        path = f"/workspace/{context.unique_name()}"
        result = talk.result("tools/call", {"name": "filesystem_read", "arguments": {"path": path}})
        assert_equal("isError", result.get("isError"), True)


@group.contract("notification", "A notification gets no answer.", "platform-behaviour B16")
def notification(context: Context) -> None:
    with _talking(context) as talk:
        talk.initialize()
        talk.socket.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        talk.ask("ping")  # an answer to the notification would come before


@group.contract("large", "Results come in messages below 1 MiB.", "wire-contract 4.1")
def large(context: Context) -> None:
    with _talking(context) as talk:
        talk.initialize()
        text = talk.call("terminal_exec", command="head -c 3000000 /dev/zero | tr '\\0' x")
        assert_true(len(json.dumps(text)) > 1000, "some of the output", f"{len(text)} characters")


@group.contract("message-limit", "A message of 4 MiB is taken.", "wire-other-clients 6")
def message_limit(context: Context) -> None:
    with _talking(context) as talk:
        talk.initialize()
        content = "x" * (_LIMIT - 300)  # the rest of the message takes less
        text = talk.call("filesystem_write", path=context.unique_name(), content=content)
        assert_true(text.startswith(f"wrote {len(content)} bytes"), f"wrote {len(content)} bytes", text)


@group.decision(
    "message-too-large", "A larger message is a JSON-RPC error, and the socket lives on.", "Part A, Sockets"
)
def message_too_large(context: Context) -> None:
    with _talking(context) as talk:
        talk.initialize()
        assert_error_code(talk.ask("ping", {"padding": "x" * _LIMIT}), -32600)
        assert_equal("result", talk.ask("ping").get("result"), {})


@group.contract("exec-shell", "terminal_exec runs `sh -c`.", _TOOLS)
def exec_shell(context: Context) -> None:
    with _talking(context) as talk:
        talk.initialize()
        assert_equal("$0", talk.call("terminal_exec", command="echo $0"), "sh\n")


@group.contract("exec-failure", "A command that fails shows its output, a newline and how it ended.", _TOOLS)
def exec_failure(context: Context) -> None:
    with _talking(context) as talk:
        talk.initialize()
        result = talk.tool("terminal_exec", command="echo out; echo err >&2; exit 4")
        assert_equal("content", result.get("content"), _content("out\n\nSTDERR:\nerr\n\nexit: exit status 4"))
        assert_equal("isError", result.get("isError"), True)


@group.contract("exec-killed", "A command that is killed says by which signal.", _TOOLS)
def exec_killed(context: Context) -> None:
    with _talking(context) as talk:
        talk.initialize()
        assert_equal("text", talk.call("terminal_exec", command="echo out; kill -9 $$"), "out\n\nexit: signal: killed")


@group.contract("empty-text", "A content block with an empty text has no key `text`.", _TOOLS)
def empty_text(context: Context) -> None:
    with _talking(context) as talk:
        talk.initialize()
        assert_equal("content", talk.tool("terminal_exec", command="true").get("content"), [{"type": "text"}])


@group.contract("read-error", "The error of filesystem_read names the absolute path.", _TOOLS)
def read_error(context: Context) -> None:
    name = context.unique_name()
    with _talking(context) as talk:
        talk.initialize()
        expected = f"read error: open /workspace/{name}: no such file or directory"
        assert_equal("text", talk.call("filesystem_read", path=name), expected)


@group.contract("write-without-content", "filesystem_write without content writes an empty file.", _TOOLS)
def write_without_content(context: Context) -> None:
    path = f"/workspace/{context.unique_name()}"
    with _talking(context) as talk:
        talk.initialize()
        assert_equal("text", talk.call("filesystem_write", path=path), f"wrote 0 bytes to {path}")


@group.contract("search-names", "filesystem_search matches names alone, so **/*.txt finds nothing.", _TOOLS)
def search_names(context: Context) -> None:
    name = context.unique_name()
    with _talking(context) as talk:
        talk.initialize()
        talk.call("filesystem_write", path=f"{name}.d/{name}.txt", content="x")
        assert_equal("text", talk.call("filesystem_search", pattern=f"{name}.t*"), f"{name}.d/{name}.txt")
        assert_equal("text", talk.call("filesystem_search", pattern=f"**/{name}.t*"), "no matches found")


@group.contract("listing-sizes", "A listing has the sizes of directories, and of links, not their targets.", _TOOLS)
def listing_sizes(context: Context) -> None:
    name = context.unique_name()
    with _talking(context) as talk:
        talk.initialize()
        script = f"mkdir {name}; cd {name}; mkdir directory; ln -s directory link; stat -c %s directory"
        size = int(talk.call("terminal_exec", command=script))
        expected = f"d {size:>8}  directory\n  {len('directory'):>8}  link"
        assert_equal("text", talk.call("filesystem_list", path=name).rstrip("\n"), expected)


@group.decision("subprotocol-echoed", "The subprotocol mcp is echoed.", "Part A, Sockets")
def subprotocol_echoed(context: Context) -> None:
    with _talking(context) as talk:
        assert_equal("subprotocol", talk.socket.subprotocol, "mcp")
