"""What a user sees of an error: their own line, and nothing of the SDK's or httpx's inner workings."""

import asyncio
import re
import traceback
from pathlib import Path

import pytest
from sdk_driver import KEY, SocketServer

import caged
from caged import AsyncCaged, Caged, CagedAPIError, CagedConnectionError, CagedError

SDK = Path(caged.__file__).parent

CALLS = {
    "get": lambda c: c.sandboxes.get("cage_none"),
    "create with an unknown keyword": lambda c: c.sandboxes.create(templat="minimal"),
    "an id of the wrong type": lambda c: c.sandboxes.exec(None, "true"),
    "files": lambda c: c.files.read("cage_none", "a.txt"),
    "wait for a snapshot": lambda c: c.snapshots.wait("snap_none"),
    "restore": lambda c: c.snapshots.restore("snap_none"),
    "events": lambda c: c.events.ingest(["no event"]),
    "account": lambda c: c.account.revoke_key("key_none"),
    "rule": lambda c: c.alerts.update_rule("rule_none"),
    "read a notification": lambda c: c.notifications.mark_read("ntf_none"),
    "buy": lambda c: c.billing.create_checkout(""),
    "replay": lambda c: c.sessions.replay("sess_none"),
}


def frames_after(error, function):
    """The traceback below the first frame of `function`."""
    frames = traceback.extract_tb(error.__traceback__)
    (first, *_) = (index for index, frame in enumerate(frames) if frame.name == function)
    return frames[first + 1 :]


def assert_short(error, function):
    below = frames_after(error, function)
    assert [Path(frame.filename).name for frame in below] == ["_tracebacks.py"], below
    assert "httpcore" not in "".join(traceback.format_exception(type(error), error, error.__traceback__))


def error_of(use):
    with pytest.raises(CagedError) as caught:
        use()
    return caught.value


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_traceback_of_a_blocking_call_ends_at_the_callers_line(emulator, call):
    def use():
        return call(client)

    with emulator.client() as client:
        assert_short(error_of(use), "<lambda>")


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_traceback_of_an_awaited_call_ends_at_the_callers_line(emulator, call):
    async def main():
        async with emulator.async_client() as client:
            await call(client)

    error = error_of(lambda: asyncio.run(main()))
    assert_short(error, "main")


def test_traceback_of_a_refused_connection_has_no_transport_in_it(driver):
    with SocketServer() as server:
        pass
    error = error_of(lambda: driver.use(lambda c: c.sandboxes.list(), base_url=server.url, max_retries=0))
    assert isinstance(error, CagedConnectionError)
    printed = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    assert "httpcore" not in printed
    assert "httpx" not in printed
    assert "The above exception" not in printed
    assert re.search(r"\[Errno \d+\] |All connection attempts failed", str(error))
    assert error.__context__ is not None  # still there for who looks


def test_an_error_that_the_caller_was_handling_is_still_shown(emulator):
    def use():
        try:
            {}["key"]
        except KeyError:
            client.sandboxes.get("cage_none")

    with emulator.client() as client:
        error = error_of(use)
    assert isinstance(error.__context__, KeyError)
    assert not error.__suppress_context__


async def terminal(client):
    await client.sandboxes.terminal("cage_none")


async def exec_stream(client):
    await client.sandboxes.exec_stream("cage_none", "true")


async def mcp(client):
    await client.sandboxes.mcp("cage_none")


async def closed_terminal(client):
    async with await client.sandboxes.terminal(client.known) as tty:
        await tty.close()
        await tty.send("true\n")


async def closed_mcp(client):
    session = await client.sandboxes.mcp(client.known)
    await session.close()
    await session.list_tools()


async def slow_stream(client):
    async with await client.sandboxes.exec_stream(client.known, "sleep 60", timeout=0.3) as stream:
        async for _ in stream:
            pass


@pytest.mark.parametrize("use", [terminal, exec_stream, mcp, closed_terminal, closed_mcp, slow_stream])
def test_traceback_of_a_socket_ends_at_the_callers_line(on, sandbox_id, use):
    async def main(client):
        client.known = sandbox_id
        await use(client)

    assert_short(error_of(lambda: on(main)), use.__name__)


def test_traceback_of_a_blocking_stream_ends_at_the_callers_line(emulator, sandbox_id):
    def read():
        for _ in client.sandboxes.stream("cage_none", "true"):
            pass

    def enter():
        with client.sandboxes.stream("cage_none", "true"):
            pass

    def text():
        client.sandboxes.stream(sandbox_id, "sleep 60", timeout=0.3).text()

    with emulator.client() as client:
        for use in (read, enter, text):
            assert_short(error_of(use), use.__name__)


def test_traceback_of_an_iterator_ends_at_the_callers_line(emulator):
    def read():
        for _ in client.sessions.replay_events("sess_none"):
            pass

    async def read_async():
        async with emulator.async_client() as other:
            async for _ in other.sessions.replay_events("sess_none"):
                pass

    with emulator.client() as client:
        assert_short(error_of(read), "read")
    assert_short(error_of(lambda: asyncio.run(read_async())), "read_async")


@pytest.mark.parametrize("client_class", [Caged, AsyncCaged])
def test_traceback_of_a_client_that_cannot_be_made_ends_at_the_callers_line(client_class):
    def make():
        client_class(KEY, "http://host/v1")

    assert_short(error_of(make), "make")


def test_every_public_method_has_a_short_traceback(emulator):
    client, other = emulator.client(), emulator.async_client()
    groups = [
        getattr(one, name)
        for one in (client, other)
        for name in (
            "account", "alerts", "billing", "events", "files", "notifications", "sandboxes", "sessions", "snapshots",
        )
    ]  # fmt: skip
    classes = [type(group) for group in groups]
    classes += [Caged, AsyncCaged, caged.TerminalSession, caged.ExecStream, caged.ExecOutput, caged.MCPClient]
    for cls in classes:
        for name in dir(cls):
            method = getattr(cls, name)
            if callable(method) and not name.startswith("_"):
                assert method.__code__.co_filename == str(SDK / "_tracebacks.py"), (cls, name)
    client.close()
    asyncio.run(other.close())


def test_status_and_detail_are_still_there(emulator):
    with emulator.client() as client:
        error = error_of(lambda: client.sandboxes.get("cage_none"))
    assert isinstance(error, CagedAPIError)
    assert (error.status, error.detail) == (404, str(error))
