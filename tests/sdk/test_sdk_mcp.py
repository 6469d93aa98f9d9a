"""`MCPClient`: what it sends, how answers find their requests, and every way they do not come."""

import asyncio
import contextlib
import copy
import pickle
import threading
import time

import pytest
from cases import each
from socket_driver import MORE_TIME, Peer

from caged import CagedError, CagedTimeoutError, MCPError, MCPPrompt, MCPResource, MCPTool, __version__


def greet(peer):
    peer.send({"jsonrpc": "2.0", "id": peer.read()["id"], "result": {}})


def answering(*results):
    """A server that answers each request with the next result; functions of the request give whole messages."""

    def behave(peer):
        greet(peer)
        for result in results:
            request = peer.read()
            if callable(result):
                messages = result(request)
                peer.send(*(messages if isinstance(messages, list) else [messages]))
            else:
                peer.send({"jsonrpc": "2.0", "id": request["id"], "result": result})
        peer.read_until_closed()

    return behave


def run(sockets, behaviour, use, **options):
    """`use` is a coroutine function of the MCP client; gives what it returned, and the peer."""

    async def opened(client):
        async with await client.sandboxes.mcp("cage_1") as mcp:
            return await use(mcp)

    with Peer(behaviour) as peer:
        result = sockets.run(peer, opened, **options)
    return result, peer


CALLS = [
    (lambda mcp: mcp.list_tools(), "tools/list", {}),
    (lambda mcp: mcp.call_tool("a"), "tools/call", {"name": "a", "arguments": {}}),
    (lambda mcp: mcp.call_tool("a", {"x": [1, None]}), "tools/call", {"name": "a", "arguments": {"x": [1, None]}}),
    (lambda mcp: mcp.list_resources(), "resources/list", {}),
    (lambda mcp: mcp.read_resource("file:///a"), "resources/read", {"uri": "file:///a"}),
    (lambda mcp: mcp.list_prompts(), "prompts/list", {}),
    (lambda mcp: mcp.get_prompt("p", {"x": "y"}), "prompts/get", {"name": "p", "arguments": {"x": "y"}}),
    (lambda mcp: mcp.ping(), "ping", {}),
]


@pytest.mark.parametrize(("call", "method", "params"), CALLS)
def test_every_call_sends_its_request(sockets, call, method, params):
    _, peer = run(sockets, answering({}), call)
    assert peer.received == [
        {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "initialize",
            "params": {
                "protocolVersion": "2024-11-05",
                "capabilities": {},
                "clientInfo": {"name": "caged-python", "version": __version__},
            },
        },
        {"jsonrpc": "2.0", "id": 2, "method": method, "params": params},
    ]
    assert peer.codes == [1000]


def test_lists_become_models_and_what_is_none_is_skipped(sockets):
    tools = {"tools": [{"name": "a", "inputSchema": {"type": "object"}, "new": 1}, 5, None], "nextCursor": "x"}
    resources = {"resources": [{"uri": "file:///a", "mimeType": None}]}
    prompts = {"prompts": [{"name": "p", "arguments": [{"name": "x"}]}]}

    async def use(mcp):
        return await mcp.list_tools(), await mcp.list_resources(), await mcp.list_prompts()

    result, _ = run(sockets, answering(tools, resources, prompts), use)
    assert result == (
        [MCPTool("a", "", {"type": "object"})],
        [MCPResource("file:///a")],
        [MCPPrompt("p", "", [{"name": "x"}])],
    )


@pytest.mark.parametrize("result", [None, {}, [], "x", {"tools": None}, {"tools": {"a": 1}}])
def test_tools_without_a_list_in_the_answer_are_an_empty_list(sockets, result):
    assert run(sockets, answering(result), lambda mcp: mcp.list_tools())[0] == []


def test_a_tool_with_a_field_of_the_wrong_type_is_a_caged_error(sockets):
    with pytest.raises(CagedError, match=r"MCPTool\.description cannot be a number"):
        run(sockets, answering({"tools": [{"description": 5}]}), lambda mcp: mcp.list_tools())


def test_a_tool_that_failed_does_not_raise(sockets):
    result = {"content": [{"type": "text", "text": "no such file"}], "isError": True}
    assert run(sockets, answering(result), lambda mcp: mcp.call_tool("a"))[0] == result


@pytest.mark.parametrize("result", [None, [1], "x"])
def test_a_result_that_is_not_an_object_is_an_empty_one(sockets, result):
    assert run(sockets, answering(result), lambda mcp: mcp.call_tool("a"))[0] == {}


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        ({"code": -32602, "message": "Unknown tool: a", "data": [1]}, -32602, "Unknown tool: a"),
        ({"code": "x", "message": 5}, -1, "the server gave no reason"),
        ({"code": True}, -1, "the server gave no reason"),
        ({}, -1, "the server gave no reason"),
    ],
)
def test_call_answered_with_an_error_raises_an_mcp_error(sockets, error, code, message):
    async def use(mcp):
        with pytest.raises(MCPError) as caught:
            await mcp.call_tool("a")
        assert (await mcp.call_tool("b")) == {"after": True}
        return caught.value

    behaviour = answering(lambda request: {"id": request["id"], "error": error}, {"after": True})
    problem, _ = run(sockets, behaviour, use)
    assert (problem.code, problem.message, problem.data) == (code, message, error.get("data"))
    assert str(problem) == f"MCP error {code}: {message}"
    assert isinstance(problem, CagedError)
    for copied in (pickle.loads(pickle.dumps(problem)), copy.copy(problem)):
        assert (str(copied), copied.code, copied.message) == (str(problem), code, message)


def test_an_error_that_is_not_an_object_is_passed_over(sockets):
    behaviour = answering(lambda request: {"id": request["id"], "error": "no", "result": {"a": 1}})
    assert run(sockets, behaviour, lambda mcp: mcp.call_tool("a"))[0] == {"a": 1}


def test_answers_find_their_requests_in_any_order(sockets):
    def behave(peer):
        greet(peer)
        requests = [peer.read() for _ in range(3)]
        for request in reversed(requests):
            peer.send({"id": request["id"], "result": {"name": request["params"]["name"]}})
        peer.read_until_closed()

    async def use(mcp):
        results = await asyncio.gather(*(mcp.call_tool(name) for name in "abc"))
        return [result["name"] for result in results]

    assert run(sockets, behave, use)[0] == ["a", "b", "c"]


def test_what_is_not_an_answer_to_this_request_is_not_taken_for_one(sockets):
    def noise(request):
        number = request["id"]
        others = [str(number), float(number) + 0.5, None, True, number + 100]
        wrong = [{"id": other, "result": {"wrong": True}} for other in others]
        return [
            "no json",
            "[" * 9000,
            [],
            5,
            *wrong,
            {"id": number, "method": "ping"},
            {"id": number, "result": {"a": 1}},
        ]

    assert run(sockets, answering(noise), lambda mcp: mcp.call_tool("a"))[0] == {"a": 1}


def test_what_the_server_sends_unasked_goes_to_the_notification_handlers(sockets):
    async def use(mcp):
        heard, answered = [], asyncio.Event()
        mcp.on_notification(lambda method, params: heard.append((method, params)))

        @mcp.on_notification
        async def ask_back(method, params):
            if method == "one":
                heard.append(await mcp.call_tool("inside"))
                answered.set()

        @mcp.on_notification
        def broken(method, params):
            raise ValueError

        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
        await mcp.ping()
        await asyncio.wait_for(answered.wait(), 5)
        return heard

    def unasked(request):
        return [
            {"method": "one", "params": {"x": 1}},
            {"id": "s1", "method": "two"},
            {"id": 1, "method": "three", "params": [1]},
            {"method": 5},
            {"id": request["id"], "result": {}},
        ]

    heard, _ = run(sockets, answering(unasked, {"inside": True}), use)
    assert sorted(heard, key=str) == sorted(
        [("one", {"x": 1}), ("two", None), ("three", [1]), {"inside": True}], key=str
    )


def test_no_answer_is_a_timeout_of_the_client(sockets):
    async def use(mcp):
        with pytest.raises(CagedTimeoutError, match=rf"MCP tools/call timed out after {seconds}s") as caught:
            await mcp.call_tool("slow")
        with pytest.raises(CagedTimeoutError, match=r"MCP ping timed out after 0\.1s"):
            await mcp.ping(timeout=0.1)
        return caught.value.timeout

    def behave(peer):
        greet(peer)
        peer.read_until_closed()

    for seconds in MORE_TIME:
        with contextlib.suppress(CagedTimeoutError):  # of the handshake or of the greeting
            assert run(sockets, behave, use, timeout=seconds)[0] == seconds
            break
    else:
        pytest.fail("the session never opened in time")


def test_a_late_answer_does_not_disturb_other_calls(sockets):
    def behave(peer):
        greet(peer)
        first = peer.read()
        second = peer.read()
        peer.send({"id": first["id"], "result": {"late": True}}, {"id": second["id"], "result": {"second": True}})
        peer.read_until_closed()

    async def use(mcp):
        with pytest.raises(CagedTimeoutError):
            await mcp.call_tool("a", timeout=0.05)
        return await mcp.call_tool("b", timeout=None)

    assert run(sockets, behave, use)[0] == {"second": True}


def test_a_server_that_never_answers_the_greeting_is_a_timeout_and_is_left(sockets):
    for seconds in MORE_TIME:
        with pytest.raises(CagedTimeoutError) as caught:
            run(sockets, lambda peer: peer.read_until_closed(), None, timeout=seconds)
        if "MCP initialize" in str(caught.value):  # otherwise the handshake took too long
            break
    assert "MCP initialize timed out" in str(caught.value)


def test_a_server_that_refuses_the_greeting_is_an_mcp_error_and_is_left(sockets):
    def behave(peer):
        peer.send({"id": peer.read()["id"], "error": {"code": -32600, "message": "no"}})
        peer.read_until_closed()

    with pytest.raises(MCPError, match="MCP error -32600: no"):
        run(sockets, behave, None)


def test_initialize_answered_with_null_is_accepted(sockets):
    def behave(peer):
        peer.send({"id": peer.read()["id"], "result": None})
        peer.read_until_closed()

    async def use(mcp):
        assert not mcp.closed

    run(sockets, behave, use)


@pytest.mark.parametrize("drop", [True, False])
def test_requests_that_wait_when_the_connection_ends_fail(sockets, drop):
    def behave(peer):
        greet(peer)
        peer.read()
        peer.read()
        if drop:
            peer.drop()
        else:
            peer.connection.close(1011)

    async def use(mcp):
        closed = []
        mcp.on_close(lambda: closed.append("closed"))
        begun = time.perf_counter()
        results = await asyncio.gather(mcp.ping(), mcp.call_tool("a"), return_exceptions=True)
        assert time.perf_counter() - begun < 20
        with pytest.raises(MCPError, match="MCP error -1: the connection is closed"):
            await mcp.list_tools()
        mcp.on_close(lambda: closed.append("late"))
        await mcp.close()
        return [(type(result), result.code) for result in results], mcp.closed, closed

    assert run(sockets, behave, use)[0] == ([(MCPError, -1)] * 2, True, ["closed", "late"])


def test_closing_it_here_fails_what_waits(sockets):
    arrived = threading.Event()

    def behave(peer):
        greet(peer)
        peer.read()  # the ping
        arrived.set()
        peer.read_until_closed()

    async def use(mcp):
        waiting = asyncio.ensure_future(mcp.ping())
        assert await asyncio.to_thread(arrived.wait, 60)
        await mcp.close()
        await mcp.close()
        with pytest.raises(MCPError, match="closed"):
            await waiting

    run(sockets, behave, use)


def test_a_connection_that_ends_before_the_greeting_is_an_mcp_error(sockets):
    with pytest.raises(MCPError, match="the connection is closed"):
        run(sockets, lambda peer: peer.connection.close(1008), None)


def test_an_answer_above_one_mebibyte_arrives(sockets):
    result = {"text": "é" * 2**20}
    assert run(sockets, answering(result), lambda mcp: mcp.call_tool("a"))[0] == result


@each(
    ("call", "message"),
    [
        (lambda mcp: mcp.call_tool(5), "name must be a str"),
        (lambda mcp: mcp.call_tool("a", [1]), "arguments must be a dict, not list"),
        (lambda mcp: mcp.call_tool("a", {"x": object()}), "tools/call: the request cannot be written as JSON"),
        (lambda mcp: mcp.call_tool("a", {"x": float("nan")}), "cannot be written as JSON"),
        (lambda mcp: mcp.read_resource(None), "uri must be a str"),
        (lambda mcp: mcp.ping(timeout=0), "timeout must be above 0"),
        (lambda mcp: mcp.ping(timeout="5"), "timeout must be a number"),
        (lambda mcp: mcp.get_prompt(None), "name must be a str"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_sent(sockets, call, message):
    async def use(mcp):
        with pytest.raises(CagedError, match=message):
            await call(mcp)

    _, peer = run(sockets, answering(), use)
    assert len(peer.received) == 1
