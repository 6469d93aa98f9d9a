"""What a fault does to a WebSocket: a terminal, a stream, MCP; on the wire, and what the SDK makes of it."""

from __future__ import annotations

import asyncio
import json
import time

import pytest
from cases import each
from internals import platform_of
from leftovers import processes_with, unique_seconds, until
from sockets import Term, leave_handshake, open_socket, streamed
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus

from caged import (
    AsyncCaged,
    CagedAPIError,
    CagedConnectionError,
    CagedError,
    CagedRateLimitError,
    CagedServerError,
    MCPError,
)

SOCKETS = ("terminal", "mcp")
DELAYS = (0.3, 2.0, 10.0, 30.0)


def connect(emulator, box, account, kind, **options):
    path = f"/sandboxes/{box}/{kind}" + ("?rows=24&cols=80" if kind == "terminal" else "")
    return open_socket(emulator.base_url, path, account.api_key, kind, **options)


def until_closed(socket):
    while True:
        try:
            socket.recv(timeout=60)
        except ConnectionClosed as closed:
            return closed


def stream(client, box, command):
    output = client.sandboxes.stream(box, command)
    return output.text(), output.exit_code


def interrupt(double, client, mark, **fault):
    """Stream a command that a fault interrupts after it has begun.

    The delay of the fault counts from the handshake: on a busy machine the command may not have begun by then, and
    another one is given more time.

    Returns:
        The sandbox, the output and exit code, and the seconds that the stream took less the fault's delay.
    """
    for delay in DELAYS:
        box = client.sandboxes.create(template="minimal").id
        begun = time.monotonic()
        try:
            with double.faults.add("sandboxes.terminal", delay=delay, **fault):
                result = stream(client, box, f"echo begun; sleep {mark}")
        except CagedError:
            if delay == DELAYS[-1]:
                raise
            continue
        if result[0] or delay == DELAYS[-1]:
            return box, result, time.monotonic() - begun - delay
    raise AssertionError("the last delay returns or raises")


def with_async(emulator, account, act):
    """What `act` gives of an async client, or the error of the SDK."""

    async def run():
        async with AsyncCaged(account.api_key, emulator.base_url, timeout=60, max_retries=0) as client:
            return await act(client)

    return asyncio.run(run())


# --- instead of the handshake


@each("kind", SOCKETS)
def test_a_handshake_is_refused(double, account, box, kind):
    with double.faults.add(f"sandboxes.{kind}", status=503, reason="capacity", retry_after=3):
        with pytest.raises(InvalidStatus) as caught, connect(double, box, account, kind):
            pass
    response = caught.value.response
    assert (response.status_code, response.headers["Retry-After"]) == (503, "3")
    assert json.loads(response.body)["reason"]["code"] == "capacity"
    assert double.journal[-1].status == 503


def test_the_sdk_raises_what_a_call_would(double, client, emulator, account, box):
    with double.faults.add("sandboxes.terminal", status=503), pytest.raises(CagedServerError):
        stream(client, box, "true")
    with double.faults.add("sandboxes.terminal", rate_limit=9), pytest.raises(CagedRateLimitError) as caught:
        stream(client, box, "true")
    assert caught.value.retry_after == 9
    with double.faults.add("sandboxes.mcp", status=403), pytest.raises(CagedAPIError) as refused:
        with_async(emulator, account, lambda client: client.sandboxes.mcp(box))
    assert refused.value.status == 403


@each("kind", SOCKETS)
def test_the_connection_breaks_before_it_is_open(double, account, box, kind):
    with double.faults.add(f"sandboxes.{kind}", drop="before"):
        with pytest.raises((InvalidMessage, ConnectionError, EOFError)), connect(double, box, account, kind):
            pass
    assert double.journal[-1].status == 0


def test_the_sdk_calls_that_a_connection_error(double, client, box):
    with double.faults.add("sandboxes.terminal", drop="before"), pytest.raises(CagedConnectionError):
        stream(client, box, "true")


def test_a_handshake_is_late(double, account, box):
    double.faults.add("sandboxes.terminal", delay=0.3)
    begun = time.monotonic()
    with Term(double.base_url, box, account.api_key) as term:
        assert time.monotonic() - begun >= 0.3
        term.prompt().type("echo o''k\n")
        term.until("ok\r\n")


@each("fault", [{"hang": True}, {"delay": 60}])
def test_a_hanging_handshake_ends_when_the_client_goes(double, account, box, fault):
    with double.faults.add("sandboxes.terminal", **fault) as added:
        leave_handshake(double.base_url, box, account.api_key, lambda: added.info.seen)
        until(lambda: double.journal[-1].status == 0, what=lambda: double.journal[-1])


def test_a_hanging_handshake_ends_with_its_fault(double, client, account, box):
    fault = double.faults.add("sandboxes.terminal", hang=True)

    async def act():
        loop = asyncio.get_running_loop()
        opening = loop.run_in_executor(None, stream, client, box, "true")
        await loop.run_in_executor(None, lambda: until(lambda: fault.triggered == 1))
        await loop.run_in_executor(None, fault.remove)
        with pytest.raises(CagedConnectionError):
            await opening

    asyncio.run(act())
    assert stream(client, box, "echo again") == ("again\n", 0)


# --- after it was opened


@each("code", [1000, 1001, 1011, 1012, 3000, 4000, 4999])
@each("kind", SOCKETS)
def test_the_socket_closes_with_a_code(double, account, box, kind, code):
    with double.faults.add(f"sandboxes.{kind}", close_socket=code), connect(double, box, account, kind) as socket:
        caught = until_closed(socket)
    assert caught.rcvd is not None
    assert caught.rcvd.code == code


def test_only_sockets_can_be_closed(double, client, account, box):
    with double.faults.add(close_socket=4000) as fault:
        client.sandboxes.exec(box, "true")
        assert fault.info.seen == 0
        with connect(double, box, account, "terminal") as socket:
            until_closed(socket)
        assert fault.triggered == 1


def test_close_socket_closes_in_the_middle_of_a_command(double, client):
    mark = unique_seconds()
    box, result, late = interrupt(double, client, mark, close_socket=1011)
    assert result == ("begun\n", None)
    assert late >= 0
    until(lambda: not processes_with(mark), what=lambda: processes_with(mark))
    until(lambda: double.journal.commands(box, source="stream"))
    assert double.journal.commands(box, source="stream")[0].exit_code is None
    until(lambda: double.journal.requests(operation="sandboxes.terminal", sandbox=box))
    assert double.journal.requests(operation="sandboxes.terminal", sandbox=box)[0].fault


def test_one_that_is_over_in_time_does_not_notice(double, client, box):
    with double.faults.add("sandboxes.terminal", close_socket=1011, delay=100, optional=True):
        assert stream(client, box, "echo quick; (exit 3)") == ("quick\n", 3)


@each("drop", ["after", "mid-body"])
@each("kind", SOCKETS)
def test_an_open_connection_breaks(double, account, box, kind, drop):
    with double.faults.add(f"sandboxes.{kind}", drop=drop, delay=0.1), connect(double, box, account, kind) as socket:
        caught = until_closed(socket)
    assert caught.rcvd is None, "no close frame was sent"


def test_a_stream_whose_connection_breaks(double, client):
    mark = unique_seconds()
    assert interrupt(double, client, mark, drop="after")[1] == ("begun\n", None)
    until(lambda: not processes_with(mark), what=lambda: processes_with(mark))


def test_so_many_characters_of_a_stream_arrive(double, account, box):
    with double.faults.add("sandboxes.terminal", truncate=2000):
        with Term(double.base_url, box, account.api_key, size="") as term:
            streamed(term, "seq 1000000")
    assert term.closed == 1006
    assert sum(len(json.dumps(message)) for message in term.messages) <= 2500


def test_a_cut_stream_has_no_exit_code(double, client, box):
    with double.faults.add("sandboxes.terminal", truncate=2000):
        text, code = stream(client, box, "seq 1000000")
        assert code is None
        assert len(text) < 2000
    with double.faults.add("sandboxes.terminal", truncate=10_000_000, optional=True):
        assert stream(client, box, "echo all") == ("all\n", 0)


def test_a_cut_answer_of_mcp(double, emulator, account, box):
    async def act(client):
        async with await client.sandboxes.mcp(box) as mcp:
            return await mcp.list_tools()

    with double.faults.add("sandboxes.mcp", truncate=1000), pytest.raises(CagedError) as caught:
        with_async(emulator, account, act)
    assert isinstance(caught.value, (CagedConnectionError, MCPError))
    assert with_async(emulator, account, act)


# --- the sandbox dies


def test_a_stream_whose_sandbox_dies(double, client):
    mark = unique_seconds()
    box, result, _late = interrupt(double, client, mark, outcome="dies")
    assert result == ("begun\n", None)
    until(lambda: client.sandboxes.get(box).status == "error")
    until(lambda: not processes_with(mark), what=lambda: processes_with(mark))


def test_a_terminal_whose_sandbox_dies(double, client, account, box):
    with double.faults.add("sandboxes.terminal", outcome="dies", delay=0.2):
        with Term(double.base_url, box, account.api_key) as term:
            term.until_closed()
    until(lambda: client.sandboxes.get(box).status == "error")


def test_mcp_whose_sandbox_dies(double, client, emulator, account, box):
    async def act(client):
        async with await client.sandboxes.mcp(box) as mcp:
            return await mcp.call_tool("terminal_exec", {"command": "sleep 60"})

    with double.faults.add("sandboxes.mcp", outcome="dies", delay=0.2):
        try:
            result = with_async(emulator, account, act)
            assert result["isError"]
        except (MCPError, CagedConnectionError):
            pass
    until(lambda: client.sandboxes.get(box).status == "error")


# --- nothing is left


@each("fault", [{"drop": "before"}, {"drop": "after"}, {"close_socket": 4000}])
def test_another_socket_is_fine_afterwards(double, client, account, box, fault):
    with double.faults.add("sandboxes.terminal", times=1, **fault):
        try:
            with connect(double, box, account, "terminal") as socket:
                until_closed(socket)
        except (InvalidMessage, ConnectionError, EOFError):
            pass
    assert stream(client, box, "echo fine") == ("fine\n", 0)
    until(lambda: not platform_of(double).terminals._terminals)
