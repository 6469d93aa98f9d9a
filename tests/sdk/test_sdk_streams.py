"""A command's output while it runs: `stream` on both clients, and `exec_stream`."""

import asyncio
import gc
import json
import threading
import time

import pytest
from socket_driver import MORE_TIME, Peer, SocketDriver, out, printing, stream

from caged import CagedError, CagedTimeoutError

BEGIN = "{begin}\r\n"


def text_of(driver, peer, **options):
    pieces, output = stream(driver, peer, **options)
    return "".join(pieces), output.exit_code


def test_what_is_typed_is_the_contract(sockets):
    with Peer(printing(BEGIN, "{end}0\n")) as peer:
        stream(sockets, peer, command="for i in 1 2\ndo echo $i\ndone")
    first, second, third = (message["data"] for message in peer.received)
    number = first.split("__CAGED_BEGIN_")[1].split("__")[0]
    assert [message["type"] for message in peer.received] == ["input"] * 3
    assert first == f"stty -echo 2>/dev/null; printf '%s\\n' '__CAGED_BEGIN_{number}__'\n"
    assert second == "for i in 1 2\ndo echo $i\ndone\n"
    assert third == (
        f"__caged_rc=$?; printf '%s%s\\n' '__CAGED_EXIT_{number}__' \"$__caged_rc\"; exit \"$__caged_rc\"\n"
    )
    assert peer.codes == [1000]


def test_a_command_that_ends_in_a_line_break_gets_no_second_one(sockets):
    with Peer(printing(BEGIN, "{end}0\n")) as peer:
        stream(sockets, peer, command="ls\n")
    assert peer.received[1]["data"] == "ls\n"


def test_output_and_exit_code(sockets):
    with Peer(printing("noise", BEGIN, "hel", "lo\r\n", "{end}7\r\n")) as peer:
        assert text_of(sockets, peer) == ("hello\r\n", 7)


def test_one_message_with_everything(sockets):
    with Peer(printing("{begin}\nhello\n{end}0\n")) as peer:
        assert text_of(sockets, peer) == ("hello\n", 0)


def test_pieces_come_as_they_are_printed_and_not_at_the_end(sockets):
    seen = threading.Event()

    def behave(peer):
        begin, end = peer.typed()
        peer.send(out(f"{begin}\r\nfirst"))
        assert seen.wait(60), "the first piece did not arrive before the second was sent"
        peer.send(out(f"{end}0\r\n"))
        peer.read_until_closed()

    async def use(client):
        pieces = []
        async with await client.sandboxes.exec_stream("cage_1", "ls") as output:
            async for piece in output:
                pieces.append(piece)
                seen.set()
        return pieces

    with Peer(behave) as peer:
        assert sockets.run(peer, use) == ["first"]


def test_an_exit_code_is_read_whole_when_its_digits_come_one_by_one(sockets):
    with Peer(printing(BEGIN, "x", "{end}", "1", "2", "7", "\r\n")) as peer:
        assert text_of(sockets, peer) == ("x", 127)


def test_an_exit_code_without_a_line_break_counts_after_a_moment(sockets):
    with Peer(printing(BEGIN, "x{end}42")) as peer:
        assert text_of(sockets, peer) == ("x", 42)


def test_binary_frames_and_frames_that_are_not_json_are_output_too(sockets):
    def behave(peer):
        begin, end = peer.typed()
        peer.send(begin, "\n", b"plain ", json.dumps(out("é")).encode(), b"\xff|", {"type": "ping"}, [1], "7")
        peer.send(out(f"{end}0\n"))
        peer.read_until_closed()

    with Peer(behave) as peer:
        assert text_of(sockets, peer) == ("plain é\ufffd|", 0)


@pytest.mark.parametrize("code", [1000, 1001, 1008, 1011, 4001])
def test_a_shell_that_dies_without_a_marker_leaves_no_exit_code(sockets, code):
    def behave(peer):
        begin, _ = peer.typed()
        peer.send(out(f"{begin}\r\nhalf _"))
        peer.connection.close(code)

    with Peer(behave) as peer:
        assert text_of(sockets, peer) == ("half _", None)


def test_a_connection_that_breaks_leaves_what_was_printed(sockets):
    def behave(peer):
        begin, end = peer.typed()
        peer.send(out(f"{begin}\r\nhalf {end[:9]}"))
        peer.drop()

    with Peer(behave) as peer:
        assert text_of(sockets, peer) == ("half ", None)


def test_a_connection_that_ends_before_the_command_leaves_nothing(sockets):
    with Peer(printing("motd", stay=False)) as peer:
        assert text_of(sockets, peer) == ("", None)


def test_a_message_above_one_mebibyte_is_output_like_any_other(sockets):
    size = 3 * 2**20

    def behave(peer):
        begin, end = peer.typed()
        peer.send(out(f"{begin}\n{'a' * size}"), out(f"{end}0\n"))
        peer.read_until_closed()

    with Peer(behave) as peer:
        text, code = text_of(sockets, peer)
    assert (len(text), code) == (size, 0)


def test_a_long_command_is_sent_in_messages_below_one_mebibyte(sockets):
    command = "echo " + "é" * 300_000

    def behave(peer):
        received = ""
        while "__CAGED_EXIT_" not in received:
            message = peer.connection.recv(5)
            assert len(message) < 2**20
            received += json.loads(message)["data"]
        assert f"\n{command}\n" in received
        peer.connection.close()

    with Peer(behave) as peer:
        stream(sockets, peer, command=command)


def test_after_the_end_there_is_nothing_more(sockets):
    async def use(client):
        output = await client.sandboxes.exec_stream("cage_1", "ls")
        assert output.exit_code is None
        first = await output.text()
        again = await output.text()
        rest = [piece async for piece in output]
        await output.kill()
        await output.close()
        return first, again, rest, output.exit_code

    with Peer(printing(BEGIN, "hello{end}3\n")) as peer:
        assert sockets.run(peer, use) == ("hello", "", [], 3)


def test_a_finished_blocking_stream_stays_finished():
    with Peer(printing(BEGIN, "hello{end}3\n")) as peer:
        pieces, output = stream(SocketDriver("sync"), peer)
    assert pieces == ["hello"]
    assert list(output) == []
    assert output.text() == ""
    output.close()


def test_nothing_is_sent_before_the_first_iteration(sockets):
    async def use(client):
        client.sandboxes.stream("cage_1", "ls")

    sockets.run("http://127.0.0.1:1", use)
    assert sockets.tickets == []


def test_leaving_early_ends_the_command(sockets, monkeypatch):
    monkeypatch.setattr("caged._sockets.opening.SOCKET_CLOSE_TIMEOUT", 60.0)

    def behave(peer):
        begin, _ = peer.typed()
        peer.send(out(f"{begin}\r\n"))
        while True:
            peer.send(out("y\n" * 1000))

    async def use(client):
        begun = None
        if sockets.kind == "sync":
            with client.sandboxes.stream("cage_1", "yes") as output:
                assert next(output).startswith("y")
                begun = time.perf_counter()
        else:
            async with client.sandboxes.stream("cage_1", "yes") as output:
                async for piece in output:
                    assert piece.startswith("y")
                    break
                begun = time.perf_counter()
        assert time.perf_counter() - begun < 20  # without waiting for the close timeout
        assert output.exit_code is None

    with Peer(behave) as peer:
        sockets.run(peer, use)
    assert peer.codes == [1000]


def test_kill_from_another_task_ends_the_iteration(sockets):
    async def use(client):
        output = await client.sandboxes.exec_stream("cage_1", "sleep 99")
        pieces, first = [], asyncio.Event()

        async def read():
            async for piece in output:
                pieces.append(piece)
                first.set()

        reading = asyncio.ensure_future(read())
        await asyncio.wait_for(first.wait(), 60)
        await output.kill()
        await reading
        return pieces, output.exit_code

    with Peer(printing(BEGIN, "hello")) as peer:
        assert sockets.run(peer, use) == (["hello"], None)


def test_close_from_another_thread_ends_the_iteration():
    async def use(client):
        output = client.sandboxes.stream("cage_1", "sleep 99")
        assert next(output) == "hello"
        closing = threading.Timer(0.05, output.close)
        closing.start()
        rest = list(output)
        closing.join(60)
        return rest

    with Peer(printing(BEGIN, "hello")) as peer:
        assert SocketDriver("sync").run(peer, use) == []


def test_a_blocking_stream_that_is_garbage_collected_disconnects():
    async def use(client):
        assert next(client.sandboxes.stream("cage_1", "sleep 99")) == "hello"
        gc.collect()

    with Peer(printing(BEGIN, "hello")) as peer:
        SocketDriver("sync").run(peer, use)
        assert peer.done.wait(60)


def test_a_command_that_takes_too_long_is_ended(sockets):
    for seconds in MORE_TIME:
        with Peer(printing(BEGIN, "hello")) as peer, pytest.raises(CagedTimeoutError) as caught:
            stream(sockets, peer, limit=seconds)
        if "the command still runs" in str(caught.value):  # otherwise it did not begin in time
            break
    assert f"timed out after {seconds}s: the command still runs" in str(caught.value)
    assert caught.value.timeout == seconds


def test_a_shell_that_does_not_begin_is_a_timeout_of_the_client(sockets):
    async def use(client):
        output = await client.sandboxes.exec_stream("cage_1", "ls")
        return await output.text()

    for seconds in MORE_TIME:
        with Peer(printing("Welcome!\r\n$ ")) as peer, pytest.raises(CagedTimeoutError) as caught:
            sockets.run(peer, use, timeout=seconds)
        if "its shell did not begin" in str(caught.value):  # otherwise the handshake took too long
            break
    assert f"timed out after {seconds}s: its shell did not begin" in str(caught.value)
    assert caught.value.timeout == seconds


def test_two_tasks_cannot_read_one_stream(sockets):
    async def use(client):
        async with await client.sandboxes.exec_stream("cage_1", "ls") as output:
            readers = [asyncio.ensure_future(output.text()) for _ in range(2)]
            refused, reading = await asyncio.wait(readers, timeout=60, return_when=asyncio.FIRST_COMPLETED)
            assert len(reading) == 1
            with pytest.raises(CagedError):
                await refused.pop()
            await output.kill()
            await reading.pop()

    with Peer(printing(BEGIN)) as peer:
        sockets.run(peer, use)


def test_a_cancelled_start_leaves_no_connection(sockets):
    async def use(client):
        output = client.sandboxes.stream("cage_1", "ls") if sockets.kind == "async" else None
        starting = asyncio.ensure_future(
            client.sandboxes.exec_stream("cage_1", "ls") if output is None else output.start()
        )
        await asyncio.sleep(0)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting

    with Peer(lambda peer: peer.read_until_closed()) as peer:
        sockets.run(peer, use)
