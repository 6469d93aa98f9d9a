"""An exception in a test's own function (of a stub, a program, an agent) fails the test, with its traceback, unless the
test allows it."""

from __future__ import annotations

import threading

import pytest
from cases import each
from leftovers import until
from sockets import leave_exec

from caged.emulator import CallbackError, Emulator, EmulatorError, Output, Reply


@pytest.fixture
def box(client):
    return client.sandboxes.create(template="minimal", agents=["claude"]).id


def broken(*_arguments):
    there = {}
    return there["not here"]


def stops(*_arguments):
    raise StopIteration("enough")


def fails(*_arguments):
    pytest.fail("from pytest")


def exits(*_arguments):
    raise SystemExit(3)


def asserts(*_arguments):
    assert "one" == "other", "they differ"


#: How to add a function, and the command that calls it.
KINDS = {
    "command": (lambda e, f, **options: e.commands.stub("x", f, **options), "x"),
    "match": (lambda e, f, **options: e.commands.stub(f, "y", **options), "x"),
    "program": (lambda e, f, **options: e.commands.program("x", f, **options), "true; x"),
    "reply": (lambda e, f, **options: e.agent("claude").reply(f, **options), "claude -p x"),
    "reply_to": (lambda e, f, **options: e.agent("claude").reply_to("x", f, **options), "claude -p x"),
}
RAISED = [
    (broken, "KeyError: 'not here'"),
    (stops, "StopIteration: enough"),
    (fails, "Failed: from pytest"),
    (exits, "SystemExit: 3"),
    (asserts, "AssertionError: they differ"),
]


#: Each exception of one kind of control, and one exception of the others: what is raised does not depend on the kind.
RAISED_BY = [("command", *raised) for raised in RAISED] + [(kind, *RAISED[0]) for kind in KINDS if kind != "command"]


@each(("kind", "function", "text"), RAISED_BY)
def test_end_of_the_with_block_raises_with_the_traceback(double, client, box, kind, function, text):
    add, command = KINDS[kind]
    with pytest.raises(CallbackError) as caught:
        with add(double, function) as control:
            result = client.sandboxes.exec(box, command)
    assert result.exit_code == 1
    assert text in result.output
    said = str(caught.value)
    assert control.id in said
    assert text in said
    assert f"in {function.__name__}" in said
    assert "standing_in.py" not in said
    assert "threads.py" not in said, "the traceback begins in the test's code"
    assert type(caught.value.__cause__).__name__ in text, "the exception itself is the cause"
    assert double.callback_errors() == [], "once raised it is not reported again"
    assert double.commands.list() == double.agents.list() == [], "the control is removed"


WRONG = [
    ("command", 12, "the function returned 12, not a bool, a str, an Output or None"),
    ("command", b"x", "the function returned b'x'"),
    ("command", Output(3), "output: must be a str or a list of str, not 3"),
    ("command", Output("x", exit_code=300), "exit_code: must be from 0 to 255, not 300"),
    ("command", Output("x", delay=-1), "delay: must be at least 0, not -1"),
    ("program", ["x"], "the function returned ['x']"),
    ("reply", 12, "the function returned 12, not a Reply, a str or None"),
    ("reply", Output("x"), "the function returned Output("),
    ("reply", Reply(3), "text: must be a str or a list of str, not 3"),
    ("reply", Reply("x", files={"/etc/x": "y"}), "files: '/etc/x' is not below"),
    ("reply", Reply("x", files={"a": 3}), "files['a']: must be a str or bytes, not 3"),
    ("reply", Reply("x", cost_usd=float("nan")), "cost_usd: must be a finite number"),
    ("reply", Reply("x", tokens_in="3"), "tokens_in: must be an int"),
    ("reply", Reply("x", exit_code="3"), "exit_code: must be an int"),
]


def test_a_wrong_value_is_an_error_of_the_function(double, client, box):
    for kind, value, text in WRONG:
        add, command = KINDS[kind]
        with pytest.raises(CallbackError) as caught:
            with add(double, lambda *_arguments, value=value: value):
                assert client.sandboxes.exec(box, command).exit_code == 1, (kind, value)
        assert text in str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_allowed_is_recorded_and_fails_nothing(double, client, box, kind):
    add, command = KINDS[kind]
    with add(double, broken, allow_errors=True) as control:
        client.sandboxes.exec(box, command)
    (error,) = double.callback_errors()
    assert (error.control, error.sandbox, error.allowed) == (control.id, box, True)
    assert error.error == "KeyError: 'not here'"
    double.raise_callback_errors()


@each("kind", KINDS)
def test_a_function_that_works_is_not_an_error(double, client, box, kind):
    add, command = KINDS[kind]
    with add(double, lambda *_arguments: "fine"):
        assert client.sandboxes.exec(box, command).output.strip() == "fine"
    assert double.callback_errors() == []


def test_a_file_that_cannot_be_written_is_an_error_of_the_reply(double, client, box):
    client.sandboxes.exec(box, "mkdir taken")
    with pytest.raises(CallbackError, match="OSError: cannot write taken: taken is a directory"):
        with double.agent("claude").reply("x", files={"taken": "y"}):
            assert client.sandboxes.exec(box, "claude -p x").exit_code == 1
    with double.agent("claude").reply("x", files={"taken": "y"}, allow_errors=True):
        client.sandboxes.exec(box, "claude -p x")


def test_a_block_that_failed_by_itself_shows_its_own_error(double, client, box):
    with pytest.raises(RuntimeError, match="mine"), double.commands.stub("x", broken):  # noqa: PT012
        client.sandboxes.exec(box, "x")
        raise RuntimeError("mine")
    assert len(double.callback_errors()) == 1, "and the other one is still reported by the account"
    with pytest.raises(CallbackError):
        double.raise_callback_errors()


def test_a_control_that_was_removed_in_its_block_still_raises(double, client, box):
    with pytest.raises(CallbackError), double.commands.stub("x", broken) as stub:  # noqa: PT012
        client.sandboxes.exec(box, "x")
        stub.remove()


def test_errors_are_of_one_account(double, emulator, account, other, client, box):
    double.commands.stub("x", broken)
    double.commands.stub("y", broken, account=other.id)
    client.sandboxes.exec(box, "x")
    with emulator.client(other.api_key) as elsewhere:
        elsewhere.sandboxes.exec(elsewhere.sandboxes.create(template="minimal").id, "y")
    assert [one.account for one in double.callback_errors()] == [account.id]
    assert [one.account for one in double.callback_errors(account=other.id)] == [other.id]
    double.clear_callback_errors(account=other.id)
    assert double.callback_errors(account=other.id) == []
    assert [one.account for one in double.callback_errors()] == [account.id]
    double.clear_callback_errors()


@pytest.mark.parametrize("call", ["reset", "reset_controls"])
def test_errors_outlive_the_removal_of_the_controls(double, client, box, call):
    double.commands.stub("x", broken)
    client.sandboxes.exec(box, "x")
    getattr(double, call)()
    with pytest.raises(CallbackError, match="KeyError: 'not here'"):
        double.raise_callback_errors()
    assert double.callback_errors() == []


def test_they_are_seen_by_url_too(double, remote_emulator, account, client, box):
    double.commands.stub("x", broken)
    client.sandboxes.exec(box, "x")
    remote = remote_emulator.for_account(account)
    assert remote.callback_errors() == double.callback_errors()
    with pytest.raises(CallbackError, match="KeyError: 'not here'") as caught:
        remote.raise_callback_errors()
    assert caught.value.__cause__ is None, "only the text can travel"
    assert double.callback_errors() == []


def test_callback_errors_beyond_the_limit_are_dropped_and_tracebacks_are_cut(double, client, box):
    def long(_command):
        raise ValueError("x" * 100_000)

    double.commands.stub("x", long)
    client.sandboxes.exec(box, "x")
    assert len(double.callback_errors()[0].traceback) < 25_000
    for _ in range(110):
        client.sandboxes.exec(box, "x")
    assert len(double.callback_errors()) == 100
    double.clear_callback_errors()


@pytest.mark.parametrize("way", ["stream", "mcp", "init_script"])
def test_error_of_a_function_is_recorded_by_every_way_of_running_a_command(double, emulator, account, client, box, way):
    import asyncio

    from caged import AsyncCaged

    double.commands.stub("x", broken)
    if way == "stream":
        client.sandboxes.stream(box, "x").text()
    elif way == "init_script":
        assert client.sandboxes.create(template="minimal", init_script="x").status == "error"
    else:

        async def by_mcp():
            async with AsyncCaged(account.api_key, emulator.base_url) as caged:
                async with await caged.sandboxes.mcp(box) as mcp:
                    return await mcp.call_tool("terminal_exec", {"command": "x"})

        assert asyncio.run(by_mcp())["isError"]
    with pytest.raises(CallbackError, match="KeyError: 'not here'"):
        double.raise_callback_errors()


# --- without pytest


def run(emulator, account=None):
    """A suite of one step, whose function raises."""
    key = emulator.api_key if account is None else account.api_key
    with emulator.client(key) as client:
        assert client.sandboxes.exec(client.sandboxes.create(template="minimal").id, "x").exit_code == 1


def test_the_end_of_an_emulators_block_raises():
    with pytest.raises(CallbackError, match="KeyError: 'not here'") as caught:  # noqa: PT012
        with Emulator() as emulator:
            emulator.commands.stub("x", broken)
            run(emulator)
    assert isinstance(caught.value.__cause__, KeyError)
    with pytest.raises(EmulatorError, match="not running"):
        _ = emulator.base_url


def test_also_for_accounts_that_were_deleted_in_the_block():
    with pytest.raises(CallbackError, match="KeyError: 'not here'"):  # noqa: PT012
        with Emulator() as emulator:
            account = emulator.create_account()
            emulator.commands.stub("x", broken, account=account.id)
            run(emulator, account)
            emulator.remove_account(account)


def test_a_block_that_failed_is_stopped_and_shows_its_own_error():
    with pytest.raises(RuntimeError, match="mine"):  # noqa: PT012
        with Emulator() as emulator:
            emulator.commands.stub("x", broken)
            run(emulator)
            raise RuntimeError("mine")
    with pytest.raises(EmulatorError, match="not running"):
        _ = emulator.base_url


def test_a_block_without_errors_and_one_that_stopped_it_are_fine():
    with Emulator() as emulator:
        emulator.commands.stub("x", broken, allow_errors=True)
        run(emulator)
    with Emulator() as emulator:
        emulator.stop()


def test_a_blocking_function_of_a_client_that_went_is_not_an_error(double, account, box):
    """Its result is dropped."""
    release = threading.Event()
    entered = threading.Event()

    def waits(_command):
        entered.set()
        release.wait(60)
        return "late"

    double.commands.stub("x", waits)
    leave_exec(double.base_url, box, account.api_key, "x", entered.is_set)
    release.set()
    until(lambda: not [one for one in threading.enumerate() if one.name.startswith("stub-")])
    assert double.callback_errors() == []
