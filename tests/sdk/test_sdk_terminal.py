"""`TerminalSession`: typing, resizing, handlers, and every way it ends."""

import asyncio

import pytest
from socket_driver import Peer, out

from caged import CagedConnectionError, CagedError


def quiet(peer):
    peer.read_until_closed()


def waiting_for_a_key(*messages, then=quiet):
    """A shell that prints when the first key is pressed."""

    def behave(peer):
        peer.read()
        peer.send(*messages)
        then(peer)

    return behave


def hang_up(peer):
    peer.connection.close()


def run(sockets, behaviour, use):
    """`use` is a coroutine function of the terminal; gives what it returned, and the peer."""

    async def opened(client):
        async with await client.sandboxes.terminal("cage_1") as terminal:
            return await use(terminal)

    with Peer(behaviour) as peer:
        result = sockets.run(peer, opened)
    return result, peer


def test_what_is_typed_and_resized_is_the_contract(sockets):
    async def use(terminal):
        await terminal.send("ls é\n")
        await terminal.resize(50, cols=132)
        await terminal.send("\x03")

    _, peer = run(sockets, quiet, use)
    assert peer.received == [
        {"type": "input", "data": "ls é\n"},
        {"type": "resize", "rows": 50, "cols": 132},
        {"type": "input", "data": "\x03"},
    ]
    assert peer.codes == [1000]


def test_output_goes_to_every_handler_in_order(sockets):
    async def use(terminal):
        heard = []
        terminal.on_output(lambda text: heard.append(("one", text)))

        @terminal.on_output
        async def two(text):
            await asyncio.sleep(0.01)
            heard.append(("two", text))

        assert two is not None
        await terminal.send("x")
        await terminal.wait_closed()
        return heard

    messages = [out("a"), {"type": "ping"}, "no json", b"\xff", out(""), out(5), {"type": "exit"}]
    heard, _ = run(sockets, waiting_for_a_key(*messages, then=hang_up), use)
    assert heard == [(who, text) for text in ("a", "no json", "\ufffd") for who in ("one", "two")]


def test_output_before_the_first_handler_is_kept_for_it(sockets):
    def behave(peer):
        peer.send(out("banner\n"), out("$ "))
        peer.read()
        peer.send(out("later"))
        hang_up(peer)

    async def use(terminal):
        await asyncio.sleep(0.1)
        heard = []
        terminal.on_output(heard.append)
        await terminal.send("x")
        await terminal.wait_closed()
        return heard

    assert run(sockets, behave, use)[0] == ["banner\n", "$ ", "later"]


def test_output_that_is_not_read_is_dropped_from_the_front(sockets):
    def behave(peer):
        for number in range(40):
            peer.send(out(f"{number:02}" + "." * 60_000))
        hang_up(peer)

    async def use(terminal):
        await terminal.wait_closed()
        heard, complete = [], asyncio.Event()

        @terminal.on_output
        def hear(text):
            heard.append(text)
            if text.startswith("39"):
                complete.set()

        await asyncio.wait_for(complete.wait(), 60)
        return heard

    heard, _ = run(sockets, behave, use)
    assert heard[-1].startswith("39")
    assert 900_000 < sum(map(len, heard)) <= 2**20


@pytest.mark.parametrize("code", [1000, 1001, 1008, 1011, 4001, None])
def test_the_close_handlers_run_once_however_it_ends_and_the_error_handlers_do_not(sockets, code):
    def end(peer):
        if code is None:
            peer.drop()
        else:
            peer.connection.close(code)

    async def use(terminal):
        ends = []
        terminal.on_close(lambda: ends.append("closed"))
        terminal.on_error(ends.append)

        @terminal.on_close
        async def slow():
            ends.append("closed, too")

        await terminal.send("x")
        await asyncio.wait_for(terminal.wait_closed(), 60)
        await terminal.close()
        await terminal.close()
        assert terminal.closed
        terminal.on_close(lambda: ends.append("late"))
        await asyncio.sleep(0)
        return ends

    ends, _ = run(sockets, waiting_for_a_key(then=end), use)
    assert sorted(ends) == ["closed", "closed, too", "late"]


def test_closing_it_here_runs_the_close_handlers_too(sockets):
    async def use(terminal):
        ends = []
        terminal.on_close(lambda: ends.append("closed"))
        assert not terminal.closed
        await terminal.close()
        return ends

    assert run(sockets, quiet, use)[0] == ["closed"]


def test_after_the_end_send_is_an_error_and_resize_does_nothing(sockets):
    async def use(terminal):
        await terminal.close()
        with pytest.raises(CagedConnectionError, match="terminal is closed; open a new one"):
            await terminal.send("x")
        await terminal.resize(1, 2)

    _, peer = run(sockets, quiet, use)
    assert peer.received == []


def test_a_handler_that_fails_is_reported_and_the_others_go_on(sockets):
    async def use(terminal):
        heard, problems = [], []
        terminal.on_error(problems.append)

        @terminal.on_output
        def broken(text):
            raise ValueError(text)

        @terminal.on_output
        async def broken_later(text):
            raise KeyError(text)

        terminal.on_output(heard.append)
        await terminal.send("x")
        await terminal.wait_closed()
        return heard, [type(problem) for problem in problems]

    behaviour = waiting_for_a_key(out("a"), out("b"), then=hang_up)
    assert run(sockets, behaviour, use)[0] == (["a", "b"], [ValueError, KeyError] * 2)


def test_exception_of_a_handler_that_is_not_awaited_goes_to_the_event_loop(sockets):
    async def use(terminal):
        reported = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context["exception"]))
        terminal.on_output(lambda text: 1 / 0)
        await terminal.send("x")
        await terminal.wait_closed()
        return [type(problem) for problem in reported]

    assert run(sockets, waiting_for_a_key(out("a"), then=hang_up), use)[0] == [ZeroDivisionError]


def test_a_handler_may_type_and_close(sockets):
    async def use(terminal):
        @terminal.on_output
        async def answer(text):
            await terminal.send(f"got {text}")
            await terminal.close()

        await terminal.send("x")
        await asyncio.wait_for(terminal.wait_closed(), 60)

    _, peer = run(sockets, waiting_for_a_key(out("a")), use)
    assert [message["data"] for message in peer.received] == ["x", "got a"]


def test_a_handler_that_never_ends_does_not_keep_close(sockets, monkeypatch):
    monkeypatch.setattr("caged._sockets.terminal.SOCKET_CLOSE_TIMEOUT", 0.1)

    async def use(terminal):
        begun = asyncio.Event()

        @terminal.on_output
        async def stuck(text):
            begun.set()
            await asyncio.sleep(3600)

        await terminal.send("x")
        await asyncio.wait_for(begun.wait(), 60)
        await asyncio.wait_for(terminal.close(), 60)

    run(sockets, waiting_for_a_key(out("a")), use)


def test_messages_above_one_mebibyte_arrive_and_long_input_is_cut(sockets):
    size = 3 * 2**20

    def behave(peer):
        received = ""
        while len(received) < 500_000:
            received += peer.read()["data"]
        peer.send(out("y" * size))
        hang_up(peer)

    async def use(terminal):
        heard = []
        terminal.on_output(heard.append)
        await terminal.send("x" * 500_000)
        await terminal.wait_closed()
        return len("".join(heard))

    assert run(sockets, behave, use)[0] == size


def test_bad_arguments_are_refused(sockets):
    async def use(terminal):
        for attempt in (b"x", None, "\ud800"):
            with pytest.raises(CagedError, match="text"):
                await terminal.send(attempt)
        with pytest.raises(CagedError, match="rows must be an int"):
            await terminal.resize("1", 2)
        with pytest.raises(CagedError, match="a handler must be callable, not str"):
            terminal.on_output("print")

    _, peer = run(sockets, quiet, use)
    assert peer.received == []
