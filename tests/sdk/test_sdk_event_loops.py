"""One client, several event loops: refused by name wherever connections are kept, on every use."""

import asyncio
import gc

import httpx
import pytest
from sdk_driver import js

from caged import AsyncCaged, CagedError
from caged.pytest_plugin._transport import unpooled_transport

ANOTHER = r"AsyncCaged belongs to the event loop that used it first.*make a new one in each event loop"
USES = {
    "call": lambda client: client.sandboxes.list(),
    "ticket": lambda client: client.socket_ticket(),
    "terminal": lambda client: client.sandboxes.terminal("cage_1"),
    "stream": lambda client: client.sandboxes.stream("cage_1", "true").text(),
    "mcp": lambda client: client.sandboxes.mcp("cage_1"),
    "events": lambda client: first(client.sessions.replay_events("sess_1")),
    "snapshot": lambda client: client.snapshots.wait("snap_1"),
    "close": lambda client: client.close(),
}


@pytest.fixture
def account(emulator):
    """An account in which no other test has a sandbox."""
    with emulator.account() as view:
        yield view


async def first(items):
    async for item in items:
        return item


async def awaited(use, client):
    return await asyncio.wait_for(use(client), 20)


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_every_use_from_a_second_loop_is_refused(account, use):
    client = account.async_client()
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(client.sandboxes.list())
        for _ in range(4):
            with pytest.raises(CagedError, match=ANOTHER) as caught:
                asyncio.run(awaited(use, client))
            assert type(caught.value) is CagedError
        assert loop.run_until_complete(client.sandboxes.list()) == []  # the first loop still works
        loop.run_until_complete(client.close())
    finally:
        loop.close()


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # connections of a loop that is closed cannot be closed
def test_every_use_after_the_first_loop_is_closed_says_so(account):
    for use in USES.values():
        client = account.async_client()
        asyncio.run(client.sandboxes.list())
        for _ in range(4):
            with pytest.raises(CagedError, match=f"first, which is closed, .*{ANOTHER[-20:]}"):
                asyncio.run(awaited(use, client))
    del client
    gc.collect()


def test_client_made_outside_belongs_to_the_loop_of_its_first_use(account):
    client = account.async_client()

    async def main():
        assert await client.sandboxes.list() == []
        await client.close()

    asyncio.run(main())


def test_client_that_was_never_used_closes_anywhere(account):
    asyncio.run(account.async_client().close())


def test_closed_client_says_that_it_is_closed_in_any_loop(account):
    client = account.async_client()

    async def main():
        await client.sandboxes.list()
        await client.close()

    asyncio.run(main())
    asyncio.run(client.close())
    with pytest.raises(CagedError, match="this client is closed"):
        asyncio.run(awaited(USES["call"], client))


def test_transport_without_a_pool_works_in_every_loop(account):
    client = account.async_client(transport=unpooled_transport(account.base_url))
    for _ in range(4):
        assert asyncio.run(client.sandboxes.list()) == []
    asyncio.run(client.close())


def test_mock_transport_works_in_every_loop():
    client = AsyncCaged("k", "http://h", transport=httpx.MockTransport(js([])))
    for _ in range(4):
        assert asyncio.run(client.sandboxes.list()) == []
    asyncio.run(client.close())


class OneLoopTransport(httpx.AsyncBaseTransport):
    """Fail in a second event loop as a connection of the first one does."""

    loop = None

    async def handle_async_request(self, request):
        current = asyncio.get_running_loop()
        self.loop = self.loop or current
        if self.loop is not current:
            raise RuntimeError("Event loop is closed")
        return httpx.Response(200, json=[])


def test_failure_of_a_given_transport_in_a_second_loop_names_the_cause():
    client = AsyncCaged("k", "http://h", transport=OneLoopTransport())
    asyncio.run(client.sandboxes.list())
    with pytest.raises(CagedError, match=ANOTHER):
        asyncio.run(client.sandboxes.list())


SOCKET_USES = {
    "send": lambda tty: tty.send("true\n"),
    "resize": lambda tty: tty.resize(10, 10),
    "wait_closed": lambda tty: tty.wait_closed(),
    "close": lambda tty: tty.close(),
}


@pytest.mark.parametrize("use", SOCKET_USES.values(), ids=SOCKET_USES)
def test_terminal_in_a_second_loop_is_refused(emulator, sandbox_id, use):
    loop = asyncio.new_event_loop()
    try:
        with emulator.client() as client:
            tty = loop.run_until_complete(client.sandboxes.terminal(sandbox_id))
            for _ in range(2):
                with pytest.raises(CagedError, match=r"WebSocket .* belongs to the event loop"):
                    asyncio.run(awaited(use, tty))
            loop.run_until_complete(tty.close())
    finally:
        loop.close()


def test_stream_in_a_second_loop_is_refused(emulator, sandbox_id):
    loop = asyncio.new_event_loop()
    try:
        with emulator.client() as client:
            stream = loop.run_until_complete(client.sandboxes.exec_stream(sandbox_id, "echo yes"))
            for _ in range(2):
                with pytest.raises(CagedError, match=r"WebSocket .* belongs to the event loop"):
                    asyncio.run(awaited(lambda it: it.text(), stream))
            assert loop.run_until_complete(stream.text()) == "yes\n"
    finally:
        loop.close()


def test_mcp_client_in_a_second_loop_is_refused(emulator, sandbox_id):
    loop = asyncio.new_event_loop()
    try:
        with emulator.client() as client:
            session = loop.run_until_complete(client.sandboxes.mcp(sandbox_id))
            for _ in range(2):
                with pytest.raises(CagedError, match=r"WebSocket .* belongs to the event loop"):
                    asyncio.run(awaited(lambda it: it.list_tools(), session))
            assert loop.run_until_complete(session.list_tools())
            loop.run_until_complete(session.close())
    finally:
        loop.close()


AFTER_ITS_LOOP = {
    "resize": ("terminal", lambda tty: tty.resize(10, 10)),
    "send": ("terminal", lambda tty: tty.send("true\n")),
    "mcp": ("mcp", lambda session: session.list_tools()),
}


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # what a closed loop held cannot be closed
@pytest.mark.parametrize(("feature", "use"), AFTER_ITS_LOOP.values(), ids=AFTER_ITS_LOOP)
def test_socket_whose_loop_is_closed_names_that_cause(emulator, sandbox_id, feature, use):
    """The end of the loop has closed the socket too, but that is not the mistake."""
    with emulator.client() as client:

        async def opened():
            return await getattr(client.sandboxes, feature)(sandbox_id)

        socket = asyncio.run(opened())
        for _ in range(2):
            with pytest.raises(CagedError, match=r"WebSocket .* belongs to the event loop .* which is closed"):
                asyncio.run(awaited(use, socket))
        del socket
        gc.collect()
