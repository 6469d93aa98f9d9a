"""The MCP server over its WebSocket, as wire-contract.md 4.4 and wire-other-clients.md 6 describe it."""

from __future__ import annotations

import json
import struct

import pytest
from emulator_testing import eventually
from leftovers import processes_with, unique_seconds
from mcp_testing import ORDER
from sockets import open_socket
from websockets.exceptions import ConnectionClosed

from caged.emulator.platform.mcp import session
from caged.emulator.websocket_protocol import MCP_READ_BYTES
from caged.emulator.wire import mcp


@pytest.fixture(scope="module")
def emulator(process_emulator):
    """Nothing here depends on the isolation."""
    return process_emulator


LIMIT = 4 * 2**20


@pytest.fixture
def socket(api, box):
    with open_socket(api.emulator.base_url, f"/sandboxes/{box}/mcp", api.key, "mcp", max_size=2**20) as opened:
        yield opened


def send(socket, method, params=None, id=1):
    socket.send(json.dumps({"jsonrpc": "2.0", "id": id, "method": method, "params": params or {}}))


def ask(socket, method, params=None, id=1):
    send(socket, method, params, id)
    reply = json.loads(socket.recv(timeout=60))
    assert reply["id"] == id
    return reply["result"]


def call(socket, tool, id=1, **arguments):
    return ask(socket, "tools/call", {"name": tool, "arguments": arguments}, id)["content"][0]["text"]


def test_mcp_messages_of_an_sdk_in_their_order_are_answered(socket):
    assert socket.subprotocol == "mcp"
    client = {"name": "caged-python", "version": "0.3.0"}
    params = {"protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": client}
    assert ask(socket, "initialize", params)["protocolVersion"] == "2024-11-05"
    assert [tool["name"] for tool in ask(socket, "tools/list", id=2)["tools"]] == ORDER
    assert call(socket, "terminal_exec", 3, command="echo hi") == "hi\n"
    assert ask(socket, "ping", id=4) == {}


def test_a_ping_overtakes_a_slow_command(socket):
    command = "until [ -e go ]; do sleep 0.01; done"
    send(socket, "tools/call", {"name": "terminal_exec", "arguments": {"command": command}})
    assert ask(socket, "ping", id=2) == {}
    send(socket, "tools/call", {"name": "filesystem_write", "arguments": {"path": "go", "content": ""}}, 3)
    assert {json.loads(socket.recv(timeout=60))["id"] for _ in range(2)} == {1, 3}


def test_large_results_come_in_frames_that_clients_take(api, box, socket):
    assert api.write(box, "f", "漢\x01" * 600_000).status_code == 200
    assert "truncated" in call(socket, "filesystem_read", path="f")
    assert call(socket, "terminal_exec", command="cat f").endswith("]")


def message_of(size, **parts):
    """A `filesystem_write` as JSON of just so many bytes."""
    params = {"name": "filesystem_write", "arguments": {"path": "f", "content": ""}}
    text = json.dumps({"jsonrpc": "2.0", "method": "tools/call", "params": params, **parts})
    return text.replace('"content": ""', f'"content": "{"x" * (size - len(text))}"')


def test_a_message_of_the_largest_size_is_taken(api, box, socket):
    socket.send(message_of(LIMIT, id=1))
    assert "wrote" in json.loads(socket.recv(timeout=60))["result"]["content"][0]["text"]


@pytest.mark.parametrize("size", [LIMIT + 1, 5 * 2**20, 33 * 2**20])
def test_a_message_that_is_too_large_is_an_error_and_the_session_goes_on(api, box, socket, size):
    socket.send(message_of(size, id=7))
    reply = json.loads(socket.recv(timeout=60))
    assert (reply["id"], reply["error"]["code"]) == (7, -32600)
    assert str(size) in reply["error"]["message"]
    assert str(LIMIT) in reply["error"]["message"]
    assert ask(socket, "ping", id=8) == {}
    assert api.output(box, "ls") == ""


def test_the_limit_of_a_message_counts_bytes(socket):
    message = {"id": 1, "method": "ping", "params": {"x": "漢" * (LIMIT // 3 + 1)}}
    socket.send(json.dumps(message, ensure_ascii=False))
    assert json.loads(socket.recv(timeout=60))["error"]["code"] == -32600
    assert ask(socket, "ping", id=2) == {}


def test_fragments_of_a_message_that_is_too_large_are_one_message(socket):
    text = message_of(LIMIT + 10, id="s")
    socket.send(text[at : at + 2**20] for at in range(0, len(text), 2**20))
    assert json.loads(socket.recv(timeout=60))["id"] == "s"
    assert ask(socket, "ping", id=2) == {}


@pytest.mark.parametrize("parts", [{}, {"id": None}])
def test_a_notification_that_is_too_large_gets_no_answer(socket, parts):
    socket.send(message_of(LIMIT + 1, **parts))
    assert ask(socket, "ping", id=2) == {}


def test_nonsense_that_is_too_large_is_a_parse_error(socket):
    socket.send("x" * (LIMIT + 1))
    assert json.loads(socket.recv(timeout=60))["error"] == {"code": -32700, "message": "Parse error"}
    assert ask(socket, "ping", id=2) == {}


def test_a_message_above_the_read_limit_closes_with_1009(socket):
    """A program that sends all of it before it reads anything gets the close code, not a reset."""
    raw, size = socket.socket, MCP_READ_BYTES + 1
    raw.sendall(b"\x81\xff" + struct.pack("!Q", size) + bytes(4) + bytes(size))
    with pytest.raises(ConnectionClosed) as caught:
        socket.recv(timeout=60)
    assert caught.value.rcvd.code == 1009
    assert str(MCP_READ_BYTES) in caught.value.rcvd.reason


def test_too_many_requests_at_a_time_are_refused_one_by_one(socket, monkeypatch):
    monkeypatch.setattr(mcp, "MOST_REQUESTS", 3)
    for id in range(1, 6):
        send(socket, "tools/call", {"name": "terminal_exec", "arguments": {"command": "sleep 1000"}}, id)
    refused = [json.loads(socket.recv(timeout=60)) for _ in range(2)]
    assert [(reply["id"], reply["error"]["code"]) for reply in refused] == [(4, -32000), (5, -32000)]
    assert "3 requests" in refused[0]["error"]["message"]
    for id in (1, 2, 3):  # a cancellation is processed nevertheless, and makes room
        socket.send(json.dumps({"method": "notifications/cancelled", "params": {"requestId": id}}))
    eventually(lambda: _answers(socket), "room for another request")


def _answers(socket):
    send(socket, "ping", id=99)
    return "result" in json.loads(socket.recv(timeout=60))


def test_a_call_that_is_cancelled_while_it_waits_never_runs(api, box, monkeypatch, socket):
    monkeypatch.setattr(session, "AT_ONCE", 1)
    wait = "touch begun; until [ -e go ]; do sleep 0.01; done"
    for id, command in ((1, wait), (2, "touch cancelled"), (3, "touch ran")):
        send(socket, "tools/call", {"name": "terminal_exec", "arguments": {"command": command}}, id)
    socket.send(json.dumps({"method": "notifications/cancelled", "params": {"requestId": 2}}))
    assert ask(socket, "ping", id=4) == {}  # a ping waits for no tool
    api.output(box, "touch go")
    assert [json.loads(socket.recv(timeout=60))["id"] for _ in range(2)] == [1, 3]
    assert api.output(box, "ls") == "begun\ngo\nran\n"


def test_a_large_message_is_taken(api, box, socket):
    content = "x" * 3_500_000
    assert call(socket, "filesystem_write", path="f", content=content) == "wrote 3500000 bytes to f"
    assert api.output(box, "wc -c < f").strip() == "3500000"


def test_notification_has_no_reply_and_invalid_message_keeps_the_socket_open(socket):
    socket.send(json.dumps({"jsonrpc": "2.0", "method": "notifications/initialized"}))
    socket.send("nonsense")
    assert json.loads(socket.recv(timeout=60))["error"]["code"] == -32700
    socket.send(b'{"id": 9, "method": "ping"}')
    assert json.loads(socket.recv(timeout=60)) == {"jsonrpc": "2.0", "id": 9, "result": {}}


@pytest.mark.parametrize("how", ["close", "drop"])
def test_disconnect_ends_the_commands_of_the_client(api, box, socket, how):
    mark = unique_seconds()
    command = f"setsid sleep {mark} & sleep {mark}"
    send(socket, "tools/call", {"name": "terminal_exec", "arguments": {"command": command}})
    eventually(lambda: len(processes_with(mark)) >= 2, "the command")
    if how == "close":
        socket.close()
    else:
        socket.socket.shutdown(2)
    eventually(lambda: not processes_with(mark), "everything of it to be gone")
    assert api.output(box, "echo alive") == "alive\n"


def test_two_clients_of_a_sandbox_have_versions_of_their_own(api, box, socket):
    with open_socket(api.emulator.base_url, f"/sandboxes/{box}/mcp", api.key, "mcp") as other:
        ask(socket, "initialize", {"protocolVersion": "2025-11-25"})
        assert "structuredContent" in ask(socket, "tools/call", {"name": "filesystem_list"})
        assert "structuredContent" not in ask(other, "tools/call", {"name": "filesystem_list"})


def test_a_read_only_key_has_no_tools_that_change_something(api, box):
    made = api.post("/account/keys", json={"name": "r", "scope": "read_only"})
    assert made.status_code == 201, made.text
    with open_socket(api.emulator.base_url, f"/sandboxes/{box}/mcp", made.json()["key"], "mcp") as socket:
        assert [tool["name"] for tool in ask(socket, "tools/list")["tools"]] == ORDER[:6]
        send(socket, "tools/call", {"name": "terminal_exec", "arguments": {"command": "touch x"}})
        assert json.loads(socket.recv(timeout=60))["error"] == {
            "code": -32602,
            "message": "Unknown tool: terminal_exec",
        }


def test_the_end_of_the_sandbox_ends_the_conversation(api, box, socket):
    ask(socket, "ping")
    assert api.delete(f"/sandboxes/{box}").status_code == 204
    with pytest.raises(ConnectionClosed) as closed:
        socket.recv(timeout=60)
    assert closed.value.rcvd.code == 1001
