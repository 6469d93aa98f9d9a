"""The SDK's sockets against the emulator, in real sandboxes."""

import asyncio
import json
import threading
import time

import pytest

import caged
from caged import CagedError, CagedTimeoutError


@pytest.fixture
def streamed(on, sandbox_id):
    """Runs a command with ``stream``; gives its pieces and exit code."""

    def run(command, **options):
        async def use(client):
            output = client.sandboxes.stream(sandbox_id, command, **options)
            if on.kind == "sync":
                return list(output), output.exit_code
            return [piece async for piece in output], output.exit_code

        return on(use)

    return run


@pytest.mark.parametrize(
    ("command", "output", "code"),
    [
        ("echo $GREETING; pwd", "hello\n/workspace\n", 0),
        ("printf '\\n\\nno line break'; (exit 7)", "\n\nno line break", 7),
        ("echo out; echo err >&2; false", "out\nerr\n", 1),
        ("for i in 1 2 3\ndo\n  echo $i\ndone", "1\n2\n3\n", 0),
        ("cat <<'EOF'\n$x \\\nEOF\n", "$x \\\n", 0),
        ("printf 'tab\\there\\rcarriage'", "tab\there\rcarriage", 0),
        ("echo grüß 😀", "grüß 😀\n", 0),
        ("printf 'a\\377b'", "a\ufffdb", 0),
        ("echo __CAGED_EXIT_0123456789abcdef__5", "__CAGED_EXIT_0123456789abcdef__5\n", 0),
        ("true", "", 0),
        ("nonsense_program 2>/dev/null", "", 127),
    ],
)
def test_streamed_output_is_exact_and_the_exit_code_is_there(streamed, command, output, code):
    pieces, exit_code = streamed(command)
    assert ("".join(pieces), exit_code) == (output, code)


def test_streamed_pieces_come_while_the_command_runs(on, sandbox_id):
    async def use(client):
        gate = "/workspace/gate"
        async with await client.sandboxes.exec_stream(
            sandbox_id, f"rm -f {gate}; echo one; until [ -e {gate} ]; do sleep 0.02; done; echo two"
        ) as output:
            first = await output.__anext__()
            written = client.files.write(sandbox_id, gate, "")
            if asyncio.iscoroutine(written):
                await written
            return first, await output.text(), output.exit_code

    assert on(use) == ("one\n", "two\n", 0)


def test_ten_million_characters_arrive(streamed):
    pieces, code = streamed("head -c 10000000 /dev/zero | tr '\\0' x")
    assert (sum(map(len, pieces)), code) == (10_000_000, 0)
    assert set("".join(pieces)) == {"x"}


def test_a_command_that_kills_its_shell_ends_the_stream(streamed):
    pieces, code = streamed("echo before; kill -9 $$")
    assert ("".join(pieces), code) == ("before\n", None)


def test_a_command_that_takes_too_long_is_ended_in_the_sandbox(streamed, emulator, sandbox_id):
    for seconds in (0.3, 3.5, 15.5):  # on a busy machine the command may begin late: another one gets more time
        with emulator.client() as client:
            client.sandboxes.exec(sandbox_id, "rm -f pid")
            with pytest.raises(CagedTimeoutError) as caught:
                streamed("echo $$ > pid; exec sleep 1000", timeout=seconds)
            if client.sandboxes.exec(sandbox_id, "test -s pid").ok and "still runs" in str(caught.value):
                break
    assert f"after {seconds}s: the command still runs" in str(caught.value)
    gone(emulator, sandbox_id)


def gone(emulator, sandbox_id):
    """Wait until the process whose number is in the file `pid` is gone."""
    with emulator.client() as client:
        deadline = time.monotonic() + 60
        while client.sandboxes.exec(sandbox_id, "kill -0 $(cat pid) 2>/dev/null").ok:
            assert time.monotonic() < deadline, "the command still runs"


def test_leaving_endless_output_early_is_quick_and_ends_the_command(on, emulator, sandbox_id, monkeypatch):
    monkeypatch.setattr("caged._sockets.opening.SOCKET_CLOSE_TIMEOUT", 100.0)

    async def use(client):
        output = client.sandboxes.stream(sandbox_id, "echo $$ > pid; exec yes")
        if on.kind == "sync":
            next(output)
            begun = time.perf_counter()
            output.close()
        else:
            await output.__anext__()
            begun = time.perf_counter()
            await output.close()
        return time.perf_counter() - begun

    assert on(use) < 50  # it does not wait for the end of the flood, nor for the handshake of the close
    gone(emulator, sandbox_id)


def test_threads_may_stream_at_once(emulator, sandbox_id):
    results = {}

    def run(client, number):
        results[number] = client.sandboxes.stream(sandbox_id, f"seq {number} {number + 999}").text()

    with emulator.client() as client:
        threads = [threading.Thread(target=run, args=(client, number)) for number in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert {number: text.split()[0] for number, text in results.items()} == {n: str(n) for n in range(5)}


def test_a_terminal_is_a_login_shell_of_the_requested_size(on, sandbox_id):
    async def use(client):
        printed = []
        async with await client.sandboxes.terminal(sandbox_id, rows=30, cols=111) as terminal:
            terminal.on_output(printed.append)
            await terminal.send("stty size\n")
            await seen(printed, "30 111")
            await terminal.resize(40, 120)
            await terminal.send("stty size\n")
            await seen(printed, "40 120")
            await terminal.send("sh -c 'echo beg\"\"un; exec sleep 1000'\n")
            await seen(printed, "begun")
            printed.clear()
            await terminal.send("\x03")
            await seen(printed, "/workspace#")  # keys typed while the shell takes over again are lost
            await terminal.send("echo $((6*7))!\n")
            await seen(printed, "42!")
            await terminal.send("exit\n")
            await asyncio.wait_for(terminal.wait_closed(), 60)
            assert terminal.closed
            with pytest.raises(CagedError, match="closed"):
                await terminal.send("x")

    on(use)


async def seen(printed, text):
    deadline = time.monotonic() + 60
    while text not in "".join(printed):
        assert time.monotonic() < deadline, f"{text!r} is not in {''.join(printed)!r}"
        await asyncio.sleep(0.01)


def test_mcp_lists_and_calls_the_platforms_tools(on, sandbox_id):
    async def use(client):
        async with await client.sandboxes.mcp(sandbox_id) as mcp:
            tools = {tool.name: tool for tool in await mcp.list_tools()}
            assert tools["filesystem_write"].inputSchema["required"] == ["path", "content"]
            await mcp.call_tool("filesystem_write", {"path": "mcp.txt", "content": "written"})
            result = await mcp.call_tool("terminal_exec", {"command": "cat mcp.txt"})
            assert result["content"][0]["text"] == "written"
            assert not result.get("isError")
            assert (await mcp.call_tool("filesystem_read", {"path": "none"}))["isError"] is True
            with pytest.raises(caged.MCPError, match="MCP error -32602: Unknown tool: nonsense"):
                await mcp.call_tool("nonsense")
            await mcp.ping()

    on(use)


def test_mcp_request_that_is_too_large_raises_and_the_connection_stays_open(on, sandbox_id):
    async def use(client):
        async with await client.sandboxes.mcp(sandbox_id) as mcp:
            with pytest.raises(caged.MCPError, match="at most 4194304 are allowed") as caught:
                await mcp.call_tool("filesystem_write", {"path": "large", "content": "x" * 4 * 2**20})
            assert caught.value.code == -32600
            await mcp.ping()
            written = await mcp.call_tool("filesystem_write", {"path": "large", "content": "x" * 4_000_000})
            assert written["content"][0]["text"] == "wrote 4000000 bytes to large"

    on(use)


def opening(client, sandbox_id):
    yield client.sandboxes.terminal(sandbox_id)
    yield client.sandboxes.exec_stream(sandbox_id, "ls")
    yield client.sandboxes.mcp(sandbox_id)


def test_a_sandbox_that_is_not_there_or_not_running_refuses_its_sockets(on, emulator):
    with emulator.client() as client:
        paused = client.sandboxes.create().id
        client.sandboxes.pause(paused)

    async def use(client):
        for attempt in opening(client, "cage_nothing1"):
            with pytest.raises(caged.CagedNotFoundError, match="sandbox not found"):
                await attempt
        for attempt in opening(client, paused):
            with pytest.raises(caged.CagedAPIError) as caught:
                await attempt
            assert caught.value.status == 409
            assert caught.value.reason.code == "sandbox_not_running"

    on(use)


def test_a_ticket_opens_one_socket_only(emulator, sandbox_id):
    from websockets.exceptions import InvalidStatus
    from websockets.sync.client import connect

    with emulator.client() as client:
        ticket = client.socket_ticket()
    assert ticket.expires_in == 60
    url = f"{emulator.base_url.replace('http', 'ws')}/v1/sandboxes/{sandbox_id}/mcp?token={ticket.ticket}"
    with connect(url, subprotocols=["mcp"], proxy=None) as socket:
        socket.send(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "ping"}))
        assert json.loads(socket.recv(5))["id"] == 1
    with pytest.raises(InvalidStatus) as caught:
        connect(url, subprotocols=["mcp"], proxy=None).__enter__()
    assert caught.value.response.status_code == 401
