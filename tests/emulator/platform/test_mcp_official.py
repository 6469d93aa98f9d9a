"""The MCP server as the official client library of the protocol drives it."""

from __future__ import annotations

import asyncio
import warnings

import pytest
from mcp_testing import ORDER


@pytest.fixture(scope="module")
def official():
    """The library, which takes a second to import: by the worker that runs these tests, not by every one."""
    absent = "the official MCP client is not installed (it needs Python 3.10; dev extra)"
    mcp = pytest.importorskip("mcp", reason=absent)
    without_sockets = "this release of the official MCP client has no WebSocket transport"
    pytest.importorskip("mcp.client.websocket", reason=without_sockets)
    return mcp


@pytest.fixture
def drive(api, box, official):
    """Runs a coroutine function with an initialized session, the whole within 20 s."""
    open_socket, open_session = official.client.websocket.websocket_client, official.ClientSession

    def run(talk):
        async def main():
            url = f"{api.emulator.base_url.replace('http', 'ws', 1)}/v1/sandboxes/{box}/mcp?token={api.key}"
            async with open_socket(url) as streams, open_session(*streams) as session:
                return await talk(session, await session.initialize())

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # the library means to leave WebSockets to others
            return asyncio.run(asyncio.wait_for(main(), 20))

    return run


def test_client_agrees_on_a_version_and_finds_the_tools(drive):
    async def talk(session, agreed):
        assert (agreed.serverInfo.name, agreed.protocolVersion) == ("caged-mcp", "2025-11-25")
        assert agreed.capabilities.tools is not None
        assert agreed.capabilities.resources is None
        await session.send_ping()
        return await session.list_tools()

    found = drive(talk)
    assert [tool.name for tool in found.tools] == ORDER
    assert [tool.name for tool in found.tools if tool.outputSchema] == ["filesystem_list", "git_status", "git_log"]
    assert found.nextCursor is None


def test_client_works_on_files(drive):
    async def talk(session, _):
        async def call(tool, **arguments):
            return await session.call_tool(tool, arguments)

        assert not (await call("filesystem_write", path="a/ü", content="text")).isError
        assert (await call("filesystem_read", path="a/ü")).content[0].text == "text"
        # The library checks what is structured against the tool's schema.
        assert (await call("filesystem_list", path="a")).structuredContent == {
            "path": "a",
            "entries": [{"name": "ü", "type": "file", "size": 4}],
        }
        assert (await call("filesystem_search", pattern="ü")).content[0].text == "a/ü"
        assert not (await call("filesystem_delete", path="a")).isError
        blocked = await call("filesystem_read", path="../etc/passwd")
        assert (blocked.isError, blocked.content[0].text) == (True, "path traversal blocked: ../etc/passwd")

    drive(talk)


def test_client_refuses_a_result_with_an_empty_text(drive):
    """The platform's server leaves `text` out when it is empty, and the library requires it."""

    async def talk(session, _):
        assert not (await session.call_tool("filesystem_write", {"path": "empty", "content": ""})).isError
        with pytest.raises(ValueError, match="validation error"):
            await session.call_tool("filesystem_read", {"path": "empty"})
        await session.send_ping()

    drive(talk)


def test_client_works_with_git(drive):
    async def talk(session, _):
        setup = "git init -q; git config user.name n; git config user.email e; echo x > 'a b'; echo ready"
        await session.call_tool("terminal_exec", {"command": setup})
        status = await session.call_tool("git_status", {})
        assert status.structuredContent == {"clean": False, "files": [{"path": "a b", "index": "?", "workTree": "?"}]}
        assert not (await session.call_tool("git_commit", {"message": "first"})).isError
        log = await session.call_tool("git_log", {"count": 1})
        assert log.structuredContent["commits"][0]["subject"] == "first"
        assert (await session.call_tool("git_diff", {"staged": True})).content[0].text == "(no output)"

    drive(talk)


def test_client_runs_commands_at_the_same_time(drive):
    async def talk(session, _):
        waiting = asyncio.create_task(
            session.call_tool("terminal_exec", {"command": "until [ -e go ]; do sleep 0.01; done; echo waited"})
        )
        assert not (await session.call_tool("filesystem_write", {"path": "go", "content": ""})).isError
        assert (await waiting).content[0].text == "waited\n"
        failed = await session.call_tool("terminal_exec", {"command": "echo no >&2; exit 4"})
        assert (failed.isError, failed.content[0].text) == (True, "STDERR:\nno\n\nexit: exit status 4")

    drive(talk)


def test_missing_features_are_reported(drive, official):
    async def talk(session, _):
        with pytest.raises(official.McpError, match="Unknown tool: nothing"):
            await session.call_tool("nothing", {})
        with pytest.raises(official.McpError, match="Method not found: resources/list"):
            await session.list_resources()

    drive(talk)
