"""The protocol of a sandbox's MCP server: eras, versions, errors, ids. Facts from wire-other-clients.md 7.1."""

from __future__ import annotations

import json

import pytest
from cases import each
from emulator_testing import api_of, eventually
from leftovers import processes_with, unique_seconds
from mcp_testing import MODERN, ORDER, Mcp, text_of

from caged import __version__


@pytest.fixture(scope="module")
def emulator(process_emulator):
    """Nothing here depends on the isolation."""
    return process_emulator


SERVER = {"name": "caged-mcp", "version": __version__}
STAMP = {"io.modelcontextprotocol/serverInfo": SERVER}
VERSION, CAPABILITIES = MODERN


@pytest.fixture(scope="module")
def shared_sandbox(emulator):
    """A client and a sandbox for all tests that change neither the sandbox nor its account: what they are about is
    kept by the session, and each has a session of its own."""
    with api_of(emulator) as api:
        yield api, api.sandbox()
    emulator.remove_account(api.account_id)


@pytest.fixture
def mcp(shared_sandbox):
    """A session in the shared sandbox."""
    return Mcp(*shared_sandbox)


@pytest.fixture
def own_mcp(api, box):
    """A session in a sandbox of the test's own, with an empty workspace."""
    return Mcp(api, box)


def meta(version):
    return {"_meta": {VERSION: version, CAPABILITIES: {}}}


# --- versions


@pytest.mark.parametrize(
    ("requested", "agreed"),
    [
        ("2026-07-28", "2025-11-25"),
        ("2025-11-25", "2025-11-25"),
        ("2025-06-18", "2024-11-05"),
        ("2025-03-26", "2024-11-05"),
        ("2024-11-05", "2024-11-05"),
        ("1900-01-01", "2024-11-05"),
        ("", "2024-11-05"),
        ("banana", "2025-11-25"),
    ],
)
def test_initialize_agrees_on_the_newest_legacy_version_that_is_not_newer(mcp, requested, agreed):
    params = {"protocolVersion": requested, "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}
    assert mcp.result("initialize", params) == {
        "protocolVersion": agreed,
        "capabilities": {"tools": {"listChanged": False}},
        "serverInfo": SERVER,
    }


@pytest.mark.parametrize("params", [None, {}, {"protocolVersion": None}, []])
def test_initialize_without_a_version_is_the_oldest(mcp, params):
    assert mcp.result("initialize", params)["protocolVersion"] == "2024-11-05"


def test_initialize_with_a_version_that_is_not_text_is_refused(mcp):
    assert mcp.error("initialize", {"protocolVersion": 3}) == (
        -32602,
        "Invalid params: protocolVersion must be a string",
    )


def test_calls_need_no_initialize(mcp):
    assert [tool["name"] for tool in mcp.result("tools/list")["tools"]] == ORDER


@pytest.mark.parametrize("version", ["2025-11-25", "2024-11-05"])
def test_the_agreed_version_holds_for_the_connection(api, box, own_mcp, version):
    own_mcp.result("initialize", {"protocolVersion": version})
    structured = version == "2025-11-25"
    assert ("structuredContent" in own_mcp.call("filesystem_list")) == structured
    assert any("outputSchema" in tool for tool in own_mcp.result("tools/list")["tools"]) == structured
    assert "structuredContent" not in Mcp(api, box).call("filesystem_list")


def test_a_message_that_names_its_version_is_answered_in_that(mcp):
    mcp.result("initialize", {"protocolVersion": "2025-11-25"})
    assert "structuredContent" not in mcp.result("tools/call", {"name": "filesystem_list", **meta("2024-11-05")})
    assert "structuredContent" in mcp.result("tools/call", {"name": "filesystem_list", **meta("2025-11-25")})
    assert mcp.result("tools/call", {"name": "filesystem_list", **meta("2026-07-28")})["resultType"] == "complete"
    assert "resultType" not in mcp.call("filesystem_list")  # and the next is as before


def test_only_modern_results_say_that_they_are_complete_and_whose(mcp):
    assert mcp.result("ping", meta("2026-07-28")) == {"resultType": "complete", "_meta": STAMP}
    assert mcp.result("ping", meta("2025-11-25")) == {}
    assert mcp.result("ping", {}) == {}
    assert mcp.result("ping") == {}


def test_only_a_modern_list_of_tools_may_be_kept(mcp):
    modern = mcp.result("tools/list", meta("2026-07-28"))
    assert (modern["ttlMs"], modern["cacheScope"], modern["_meta"]) == (3600000, "public", STAMP)
    assert set(mcp.result("tools/list", meta("2025-11-25"))) == {"tools"}
    assert set(mcp.result("tools/list", meta("2024-11-05"))) == {"tools"}


@pytest.mark.parametrize("params", [None, {}, meta("2025-11-25"), meta("2026-07-28")])
def test_discovery_is_always_answered_in_modern_form(mcp, params):
    assert mcp.result("server/discover", params) == {
        "resultType": "complete",
        "supportedVersions": ["2026-07-28", "2025-11-25", "2024-11-05"],
        "capabilities": {"tools": {"listChanged": False}},
        "ttlMs": 3600000,
        "cacheScope": "public",
        "_meta": STAMP,
    }


@pytest.mark.parametrize("method", ["ping", "tools/list", "tools/call", "server/discover"])
def test_an_unknown_version_is_refused_with_those_there_are(mcp, method):
    error = mcp.request(method, meta("2031-01-01"))["error"]
    assert error == {
        "code": -32022,
        "message": "Unsupported protocol version",
        "data": {"supported": ["2026-07-28", "2025-11-25", "2024-11-05"], "requested": "2031-01-01"},
    }


@pytest.mark.parametrize("method", ["ping", "tools/list", "server/discover"])
@pytest.mark.parametrize("capabilities", [{}, {CAPABILITIES: None}, {CAPABILITIES: []}])
def test_a_modern_client_has_to_say_what_it_can_do(mcp, method, capabilities):
    code, message = mcp.error(method, {"_meta": {VERSION: "2026-07-28", **capabilities}})
    assert code == -32602
    assert "_meta.io.modelcontextprotocol/clientCapabilities" in message


@pytest.mark.parametrize("value", ["x", 1, [], True])
def test_meta_that_is_not_an_object_is_refused(mcp, value):
    assert mcp.error("tools/list", {"_meta": value})[0] == -32602


@pytest.mark.parametrize("value", [1, [], {}, True])
def test_a_version_that_is_not_text_is_refused(mcp, value):
    assert mcp.error("tools/list", {"_meta": {VERSION: value}})[0] == -32602


@pytest.mark.parametrize("params", [{"_meta": None}, {"_meta": {}}, {"_meta": {"progressToken": 1}}])
def test_meta_without_a_version_changes_nothing(mcp, params):
    assert mcp.result("ping", params) == {}


# --- messages


@pytest.mark.parametrize("id", [1, 0, -5, "1", "", 1.5, True, False, {"a": [1]}, [1, None], 2**53, "\ud800 é 漢"])
def test_an_id_comes_back_as_it_was(mcp, id):
    assert type(mcp.request("ping", id=id)["id"]) is type(id)
    assert mcp.request("no/such", id=id)["error"]["code"] == -32601


@each(
    "text",
    [
        "",
        " ",
        "{",
        "nonsense",
        "[]",
        '[{"jsonrpc":"2.0","id":1,"method":"ping"}]',
        '{"id":NaN,"method":"ping"}',
        '{"id":1e999,"method":"ping"}',
        '{"id":1,"method":"ping"} x',
        "\ufeff{}",
        "1",
        '"x"',
        "null",
        "true",
        "[" * 100_000,
        '{"a":' * 100_000,
        '{"id":' + "9" * 100_000 + "}",
    ],
)
def test_what_is_not_a_message_is_a_parse_error_without_an_id(mcp, text):
    assert mcp.send(text) == {"jsonrpc": "2.0", "error": {"code": -32700, "message": "Parse error"}}


def test_an_id_that_fits_in_no_frame_is_refused(mcp):
    reply = mcp.send(json.dumps({"id": "x" * 2_000_000, "method": "ping"}))
    assert reply["error"]["code"] == -32600
    assert "id" not in reply


@pytest.mark.parametrize("method", [5, True, ["ping"], {}])
def test_a_method_of_another_type_is_an_invalid_request(mcp, method):
    reply = mcp.send(json.dumps({"id": 7, "method": method}))
    assert (reply["id"], reply["error"]["code"]) == (7, -32600)


@pytest.mark.parametrize("message", [{}, {"method": None}, {"method": ""}])
def test_a_missing_method_is_not_found(mcp, message):
    reply = mcp.send(json.dumps({"id": 7, **message}))
    assert (reply["id"], reply["error"]) == (7, {"code": -32601, "message": "Method not found: "})


@pytest.mark.parametrize(
    "message",
    [
        {"method": "notifications/initialized"},
        {"method": "ping"},
        {"method": "ping", "id": None},
        {"method": "no/such"},
        {"method": "tools/call", "params": {"name": "filesystem_write", "arguments": {"path": "n", "content": ""}}},
        {"method": "tools/list", "params": meta("2031-01-01")},
        {"method": "initialize", "params": {"protocolVersion": "2025-11-25"}},
        {"method": "notifications/cancelled"},
        {"method": "notifications/cancelled", "params": {"requestId": 99}},
        {"id": 3, "result": {}},
        {"id": 3, "error": {"code": 1, "message": "x"}},
        {},
    ],
)
def test_a_notification_and_a_reply_are_never_answered_and_do_nothing(own_mcp, message):
    assert own_mcp.send(json.dumps({"jsonrpc": "2.0", **message})) is None
    result = own_mcp.call("filesystem_list")
    assert text_of(result) == ""
    assert "structuredContent" not in result  # nor did it agree on another version


@pytest.mark.parametrize("jsonrpc", ["1.0", 2, None])
def test_the_number_of_json_rpc_is_not_looked_at(mcp, jsonrpc):
    assert mcp.send(json.dumps({"jsonrpc": jsonrpc, "id": 1, "method": "ping"}))["result"] == {}


@pytest.mark.parametrize(
    "method", ["resources/list", "resources/read", "prompts/list", "prompts/get", "Ping", "tools", "roots/list", ""]
)
def test_other_methods_are_not_there(mcp, method):
    assert mcp.error(method, {}) == (-32601, f"Method not found: {method}")


def test_what_is_said_back_is_short(mcp):
    assert len(mcp.error("m" * 900_000)[1]) < 1000
    assert len(mcp.error("tools/call", {"name": "n" * 900_000})[1]) < 1000
    assert len(mcp.failure("filesystem_read", path="../" * 300_000)) < 1000


# --- calling tools


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (None, "Invalid params"),
        ([], "Invalid params"),
        ("x", "Invalid params"),
        ({}, "Invalid params: name is required"),
        ({"name": ""}, "Invalid params: name is required"),
        ({"name": None}, "Invalid params: name is required"),
        ({"name": 3}, "Invalid params: name must be a string"),
        ({"name": "no_such"}, "Unknown tool: no_such"),
        ({"name": "pipeline_list"}, "Unknown tool: pipeline_list"),
    ],
)
def test_a_call_that_names_no_tool_is_an_error_of_the_protocol(mcp, params, message):
    assert mcp.error("tools/call", params) == (-32602, message)


@pytest.mark.parametrize("name", ["filesystem_list", "git_status", "git_diff", "git_log"])
@pytest.mark.parametrize("absent", [{}, {"arguments": None}])
def test_some_tools_need_no_arguments(own_mcp, name, absent):
    own_mcp.text(
        "terminal_exec", command="git init -q && git -c user.name=n -c user.email=e commit -q --allow-empty -m x"
    )
    assert "isError" not in own_mcp.result("tools/call", {"name": name, **absent})


@pytest.mark.parametrize("name", ["filesystem_read", "filesystem_search", "filesystem_write", "filesystem_delete"])
def test_a_call_without_arguments_says_that_the_json_ended(mcp, name):
    result = mcp.result("tools/call", {"name": name})
    assert text_of(result) == "invalid arguments: unexpected end of JSON input"


@each("name", ["filesystem_read", "filesystem_search", "filesystem_write", "terminal_exec"])
@each("arguments", [{}, {"arguments": None}, {"arguments": []}, {"arguments": "x"}])
def test_arguments_that_are_not_an_object_are_a_failure_of_the_tool(mcp, name, arguments):
    result = mcp.result("tools/call", {"name": name, **arguments})
    assert result["isError"] is True
    assert text_of(result).startswith("invalid arguments: ")


@each(
    ("tool", "arguments", "text"),
    [
        ("filesystem_read", {"path": 5}, "invalid arguments: path must be of type string, not a number"),
        ("filesystem_read", {"path": "a\0b"}, "invalid arguments: path must not contain a NUL character"),
        ("filesystem_read", {"path": "\ud800"}, "invalid arguments: path is not valid Unicode"),
        ("filesystem_write", {"path": "x", "content": 5}, "invalid arguments: content must be of type string"),
        ("filesystem_search", {}, "pattern is required"),
        ("filesystem_list", {"path": []}, "invalid arguments: path must be of type string, not an array"),
        ("filesystem_write", {"path": "x", "content": "\udc80"}, "invalid arguments: content is not valid Unicode"),
        ("filesystem_search", {"pattern": ""}, "pattern is required"),
        ("terminal_exec", {}, "command is required"),
        ("terminal_exec", {"command": ""}, "command is required"),
        ("terminal_exec", {"command": "x\0y"}, "invalid arguments: command must not contain a NUL character"),
        ("terminal_exec", {"command": "x\udfff"}, "invalid arguments: command is not valid Unicode"),
        ("terminal_exec", {"command": ["ls"]}, "invalid arguments: command must be of type string, not an array"),
        ("terminal_exec", {"command": ":", "timeout": "5"}, "invalid arguments: timeout must be of type integer"),
        ("terminal_exec", {"command": ":", "timeout": 5.5}, "invalid arguments: timeout must be of type integer"),
        ("terminal_exec", {"command": ":", "timeout": True}, "invalid arguments: timeout must be of type integer"),
        ("terminal_exec", {"command": ":", "timeout": 2**63}, "invalid arguments: timeout is too large a number"),
        ("git_commit", {}, "message is required"),
        ("git_commit", {"message": ""}, "message is required"),
        ("git_diff", {"staged": 1}, "invalid arguments: staged must be of type boolean, not a number"),
        ("git_log", {"count": "3"}, "invalid arguments: count must be of type integer, not a string"),
        ("git_push", {"remote": "--receive-pack=x"}, "invalid arguments: remote must be a name"),
        ("git_push", {"branch": "-f"}, "invalid arguments: branch must be a name"),
        ("network_fetch", {"url": "file:///etc/passwd"}, "invalid arguments: url must begin with http"),
        ("network_fetch", {"url": "http://[x"}, "invalid arguments: url: "),
        ("network_fetch", {"url": "http://h", "method": "BREW"}, "invalid arguments: method must be one of GET, "),
        ("network_fetch", {"url": "http://h", "headers": {"a": 1}}, "invalid arguments: headers.a must be of type"),
        ("network_fetch", {"url": "http://h", "body": "x" * 100_000}, "the request is too large"),
    ],
)
def test_wrong_arguments_are_a_failure_that_says_what_is_wrong(mcp, tool, arguments, text):
    assert mcp.failure(tool, **arguments).startswith(text)


def test_unknown_arguments_are_ignored(mcp):
    assert mcp.text("terminal_exec", command="echo x", cwd="/", shell=5) == "x\n"


# --- several at a time, and their end


def test_a_slow_command_does_not_hold_up_a_ping(own_mcp):
    slow = own_mcp.start(call_text(1, "terminal_exec", command="until [ -e go ]; do sleep 0.01; done; echo done"))
    assert own_mcp.result("ping") == {}
    assert own_mcp.text("filesystem_write", path="go", content="") == "wrote 0 bytes to go"
    assert text_of(json.loads(slow.result(60))["result"]) == "done\n"


@pytest.mark.parametrize("how", ["cancelled", "taken back"])
def test_the_end_of_a_call_kills_all_that_its_command_started(api, box, own_mcp, how):
    mark = unique_seconds()
    call = own_mcp.start(call_text("c1", "terminal_exec", command=f"setsid sleep {mark} & sleep {mark}; sleep {mark}"))
    eventually(lambda: len(processes_with(f"sleep {mark}")) >= 3, "the command")
    if how == "cancelled":
        call.cancel()
    else:
        notification = {"method": "notifications/cancelled", "params": {"requestId": "c1", "reason": "enough"}}
        assert own_mcp.send(json.dumps(notification)) is None
        assert call.result(60) is None
    eventually(lambda: not processes_with(mark), "everything of it to be gone")
    assert "killed: the client disconnected" in api.log_text(box)
    assert own_mcp.text("terminal_exec", command="echo alive") == "alive\n"


def test_another_request_is_not_taken_back(own_mcp):
    slow = own_mcp.start(call_text(5, "terminal_exec", command="until [ -e go ]; do sleep 0.01; done"))
    own_mcp.send(json.dumps({"method": "notifications/cancelled", "params": {"requestId": "5"}}))
    own_mcp.text("filesystem_write", path="go", content="")
    assert json.loads(slow.result(60))["id"] == 5


def call_text(id, tool, **arguments):
    params = {"name": tool, "arguments": arguments}
    return json.dumps({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params})


# --- the sandbox behind it


def test_a_paused_sandbox_is_a_failure_that_says_what_to_do(api, box, own_mcp):
    assert api.post(f"/sandboxes/{box}/pause").status_code == 204
    for tool, arguments in (("terminal_exec", {"command": "ls"}), ("filesystem_list", {}), ("git_status", {})):
        assert own_mcp.failure(tool, **arguments) == f"sandbox {box} is paused, not running; resume it first"
    assert own_mcp.result("ping") == {}
    assert api.post(f"/sandboxes/{box}/resume").status_code == 204
    assert own_mcp.text("terminal_exec", command="echo back") == "back\n"


def test_a_destroyed_sandbox_is_a_failure(api, box, own_mcp):
    running = own_mcp.start(call_text(1, "terminal_exec", command="sleep 1000"))
    eventually(lambda: own_mcp.session._calls, "the command")
    assert api.delete(f"/sandboxes/{box}").status_code == 204
    result = json.loads(running.result(60))["result"]
    assert result["isError"] is True
    assert box in text_of(result)
    assert own_mcp.failure("filesystem_list") == f"sandbox not found: {box}"


def test_a_call_keeps_the_sandbox_from_being_idle(timed):
    api, clock = timed
    box = api.sandbox(timeout=60)
    mcp = Mcp(api, box)
    clock.advance(50)
    mcp.text("filesystem_list")
    clock.advance(50)
    assert api.status(box) == "running"
    clock.advance(20)
    assert api.status(box) == "paused"


def test_a_read_only_key_sees_and_uses_only_what_changes_nothing(api, box):
    mcp = Mcp(api, box, read_only=True)
    assert [tool["name"] for tool in mcp.result("tools/list")["tools"]] == ORDER[:6]
    for name in ORDER[6:]:
        arguments = {"path": "x", "content": "x", "command": "touch x", "message": "x", "url": "http://127.0.0.1:1"}
        assert mcp.error("tools/call", {"name": name, "arguments": arguments}) == (
            -32602,
            f"Unknown tool: {name}",
        )
    assert mcp.text("filesystem_list") == ""


def test_every_call_becomes_an_event_without_secrets(api):
    box = api.sandbox(env={"TOKEN": "s3cr3t-value"}, secrets=["TOKEN"])
    mcp = Mcp(api, box)
    mcp.text("terminal_exec", command="echo s3cr3t-value")
    mcp.failure("filesystem_read", path="missing")
    mcp.text("filesystem_write", path="f", content="x" * 5000)
    record = mcp.session._sandbox
    events = [event.data for event in record.history.events() if event.type == "tool_call"]
    assert [(event["tool"], event["is_error"]) for event in events] == [
        ("terminal_exec", False),
        ("filesystem_read", True),
        ("filesystem_write", False),
    ]
    assert events[1]["arguments"] == {"path": "missing"}
    assert len(events[2]["arguments"]["content"]) < 1100
    assert "s3cr3t" not in json.dumps([event.data for event in record.history.events()]) + api.log_text(box)
    seen = [(event.type, event.data.get("command", event.data.get("path"))) for event in record.history.events()]
    assert ("command", "echo ***") in seen
    assert ("file_op", "/workspace/f") in seen
