"""The MCP server of a sandbox."""

from __future__ import annotations

import json

from ..assertions import assert_equal, assert_error_code, assert_shape, assert_true
from ..check import Group
from ..context import Context
from ..mcp_client import initialized_mcp, open_mcp
from ..shapes import TOOL

group = Group("mcp")

_LIMIT = 4 * 1024 * 1024
_TOOLS = "wire-other-clients 7.2"


def _content(text: str) -> list[dict[str, str]]:
    return [{"type": "text", "text": text}]


@group.contract("subprotocol", "The subprotocol mcp is echoed, or none.", "wire-contract 4.1")
def subprotocol(context: Context) -> None:
    with open_mcp(context) as client:
        assert_true(client.socket.subprotocol in (None, "mcp"), "mcp", repr(client.socket.subprotocol))


@group.contract("initialize", "initialize returns the protocol version and the server's name.", "wire-contract 4.4")
def initialize(context: Context) -> None:
    with open_mcp(context) as client:
        found = client.initialize()
        assert_equal("protocolVersion", found.get("protocolVersion"), "2024-11-05")
        assert_shape(found, {"capabilities": dict, "serverInfo": {"name": str, "version": str}})


@group.contract("tools", "Tools are listed with name, description and schema.", "wire-contract 4.4")
def tools(context: Context) -> None:
    with initialized_mcp(context) as client:
        found = client.result("tools/list").get("tools")
        assert_true(isinstance(found, list) and found, "some tools", repr(found))
        for tool in found:  # type: ignore[union-attr]
            assert_shape(tool, TOOL)


@group.contract("tool-names", "The tools include filesystem_read and terminal_exec.", "wire-contract 4.4")
def tool_names(context: Context) -> None:
    with initialized_mcp(context) as client:
        names = [tool.get("name") for tool in client.result("tools/list").get("tools", ())]
        assert_true({"filesystem_read", "terminal_exec"} <= set(names), "filesystem_read, terminal_exec", names)


@group.contract("terminal-exec", "terminal_exec runs a command in the sandbox.", "wire-contract 4.4")
def terminal_exec(context: Context) -> None:
    with initialized_mcp(context) as client:
        text = client.tool_text("terminal_exec", command="echo from $((6 * 7))")
        assert_true("from 42" in text, "a text with `from 42`", text)


@group.contract("filesystem-read", "filesystem_read reads a file of the sandbox.", "wire-contract 4.4")
def filesystem_read(context: Context) -> None:
    path = context.write_new_file("read by MCP\n")
    with initialized_mcp(context) as client:
        text = client.tool_text("filesystem_read", path=path)
        assert_true("read by MCP" in text, "the file's text", text)


@group.contract("jsonrpc", "Every reply has jsonrpc 2.0.", "wire-contract 4.4")
def jsonrpc(context: Context) -> None:
    with open_mcp(context) as client:
        for method in ("ping", "caged/verify"):  # a result, and an error
            assert_equal("jsonrpc", client.request(method).get("jsonrpc"), "2.0")


@group.contract("integer-ids", "A reply has the id of its request, as an integer.", "wire-contract 4.4")
def integer_ids(context: Context) -> None:
    with initialized_mcp(context) as client:
        ids = [client.request("ping").get("id"), client.request("tools/list").get("id")]
        assert_equal("ids", ids, [2, 3])


@group.contract("ping", "ping returns an empty result.", "wire-contract 4.4")
def ping(context: Context) -> None:
    with initialized_mcp(context) as client:
        assert_equal("result", client.request("ping").get("result"), {})


@group.contract("unknown-method", "An unknown method returns error -32601.", "platform-behaviour B16")
def unknown_method(context: Context) -> None:
    with initialized_mcp(context) as client:
        assert_error_code(client.request("caged/verify"), -32601)


@group.contract("unknown-tool", "An unknown tool returns error -32602.", "platform-behaviour B16")
def unknown_tool(context: Context) -> None:
    with initialized_mcp(context) as client:
        assert_error_code(client.request("tools/call", {"name": "caged_verify_none", "arguments": {}}), -32602)


@group.contract(
    "parse-error",
    "A message that is not JSON returns error -32700 and keeps the socket open.",
    "platform-behaviour B16",
)
def parse_error(context: Context) -> None:
    with initialized_mcp(context) as client:
        client.socket.send("{nonsense")
        assert_error_code(client.receive(), -32700)
        client.request("ping")


@group.contract("tool-failure", "A tool that fails returns a result with isError, not an error.", "wire-contract 4.4")
def tool_failure(context: Context) -> None:
    with initialized_mcp(context) as client:
        result = client.tool_result("filesystem_read", path=f"/workspace/{context.unique_name()}")
        assert_equal("isError", result.get("isError"), True)


@group.contract("notification", "A notification has no reply.", "platform-behaviour B16")
def notification(context: Context) -> None:
    with initialized_mcp(context) as client:
        client.socket.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
        client.request("ping")  # an answer to the notification would come before


@group.contract("large", "Results are sent in messages smaller than 1 MiB.", "wire-contract 4.1")
def large(context: Context) -> None:
    with initialized_mcp(context) as client:
        text = client.tool_text("terminal_exec", command="head -c 3000000 /dev/zero | tr '\\0' x")
        assert_true(len(json.dumps(text)) > 1000, "some of the output", f"{len(text)} characters")


@group.contract("message-limit", "A message of 4 MiB is accepted.", "wire-other-clients 6")
def message_limit(context: Context) -> None:
    with initialized_mcp(context) as client:
        content = "x" * (_LIMIT - 300)  # the rest of the message takes less
        text = client.tool_text("filesystem_write", path=context.unique_name(), content=content)
        assert_true(text.startswith(f"wrote {len(content)} bytes"), f"wrote {len(content)} bytes", text)


@group.decision(
    "message-too-large", "A larger message returns a JSON-RPC error and keeps the socket open.", "Part A, Sockets"
)
def message_too_large(context: Context) -> None:
    with initialized_mcp(context) as client:
        assert_error_code(client.request("ping", {"padding": "x" * _LIMIT}), -32600)
        assert_equal("result", client.request("ping").get("result"), {})


@group.contract("exec-shell", "terminal_exec runs `sh -c`.", _TOOLS)
def exec_shell(context: Context) -> None:
    with initialized_mcp(context) as client:
        assert_equal("$0", client.tool_text("terminal_exec", command="echo $0"), "sh\n")


@group.contract("exec-failure", "A command that fails returns its output, a blank line and its exit status.", _TOOLS)
def exec_failure(context: Context) -> None:
    with initialized_mcp(context) as client:
        result = client.tool_result("terminal_exec", command="echo out; echo err >&2; exit 4")
        assert_equal("content", result.get("content"), _content("out\n\nSTDERR:\nerr\n\nexit: exit status 4"))
        assert_equal("isError", result.get("isError"), True)


@group.contract("exec-killed", "A command ended by a signal returns the name of the signal.", _TOOLS)
def exec_killed(context: Context) -> None:
    with initialized_mcp(context) as client:
        assert_equal(
            "text", client.tool_text("terminal_exec", command="echo out; kill -9 $$"), "out\n\nexit: signal: killed"
        )


@group.contract("empty-text", "A content block with an empty text has no key `text`.", _TOOLS)
def empty_text(context: Context) -> None:
    with initialized_mcp(context) as client:
        assert_equal("content", client.tool_result("terminal_exec", command="true").get("content"), [{"type": "text"}])


@group.contract("read-error", "An error of filesystem_read contains the absolute path.", _TOOLS)
def read_error(context: Context) -> None:
    name = context.unique_name()
    with initialized_mcp(context) as client:
        expected = f"read error: open /workspace/{name}: no such file or directory"
        assert_equal("text", client.tool_text("filesystem_read", path=name), expected)


@group.contract("write-without-content", "filesystem_write without content writes an empty file.", _TOOLS)
def write_without_content(context: Context) -> None:
    path = f"/workspace/{context.unique_name()}"
    with initialized_mcp(context) as client:
        assert_equal("text", client.tool_text("filesystem_write", path=path), f"wrote 0 bytes to {path}")


@group.contract("search-names", "filesystem_search matches names only, so **/*.txt finds nothing.", _TOOLS)
def search_names(context: Context) -> None:
    name = context.unique_name()
    with initialized_mcp(context) as client:
        client.tool_text("filesystem_write", path=f"{name}.d/{name}.txt", content="x")
        assert_equal("text", client.tool_text("filesystem_search", pattern=f"{name}.t*"), f"{name}.d/{name}.txt")
        assert_equal("text", client.tool_text("filesystem_search", pattern=f"**/{name}.t*"), "no matches found")


@group.contract(
    "listing-sizes", "A listing has the sizes of directories, and of links instead of their targets.", _TOOLS
)
def listing_sizes(context: Context) -> None:
    name = context.unique_name()
    with initialized_mcp(context) as client:
        script = f"mkdir {name}; cd {name}; mkdir directory; ln -s directory link; stat -c %s directory"
        size = int(client.tool_text("terminal_exec", command=script))
        expected = f"d {size:>8}  directory\n  {len('directory'):>8}  link"
        assert_equal("text", client.tool_text("filesystem_list", path=name).rstrip("\n"), expected)


@group.decision("subprotocol-echoed", "The subprotocol mcp is echoed.", "Part A, Sockets")
def subprotocol_echoed(context: Context) -> None:
    with open_mcp(context) as client:
        assert_equal("subprotocol", client.socket.subprotocol, "mcp")
