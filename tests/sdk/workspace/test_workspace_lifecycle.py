"""A sandbox for the duration of a block, and the calls by id without the id."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import logging
import pickle
import sys
import typing

import anyio
import httpx
import pytest
from either_kind import opened, result
from sdk_driver import js, problem

from caged import (
    AsyncBoundSandbox,
    AsyncCaged,
    BoundSandbox,
    Caged,
    CagedError,
    CagedNotFoundError,
    CagedSandboxError,
    Sandbox,
)
from caged._workspace import opening
from caged._workspace.lifecycle import CachedField, SandboxAttributes


@pytest.fixture(autouse=True)
def clock():
    """Time is real here."""


async def exists(client, sandbox_id):
    try:
        await result(client.sandboxes.get(sandbox_id))
    except CagedNotFoundError:
        return False
    return True


# --- on the emulator


def test_sandbox_exists_in_the_block_and_is_destroyed_after_it(on):
    async def use(client):
        async with opened(client, template="python", env={"NAME": "value"}) as box:
            assert await exists(client, box.id)
            assert (await result(box.run("echo $NAME"))).stdout == "value\n"
            assert box.template.startswith("python")
            assert not box.keep
        assert not await exists(client, box.id)
        assert box.status == "destroyed"

    on(use)


def test_sandbox_is_destroyed_when_the_block_raises(on):
    async def use(client):
        with pytest.raises(KeyError, match="the block's"):
            async with opened(client) as box:
                raise KeyError("the block's")
        assert not await exists(client, box.id)

    on(use)


def test_kept_sandbox_lives_on(on):
    async def use(client):
        async with opened(client, keep=True) as first:
            assert first.keep
        async with opened(client) as second:
            second.keep = True
        async with opened(client, keep=True) as third:
            third.keep = False
        assert [await exists(client, box.id) for box in (first, second, third)] == [True, True, False]
        for box in (first, second):
            await result(box.destroy())

    on(use)


def test_sandbox_that_the_block_destroyed_is_accepted(on):
    async def use(client):
        async with opened(client) as box:
            await result(box.destroy())
            assert box.status == "destroyed"

    on(use)


def test_failed_creation_raises_the_reason_and_destroys_the_sandbox(on):
    async def use(client):
        with pytest.raises(CagedSandboxError, match=r"could not be set up(.|\n)*exit code 3(.|\n)*the cause") as caught:
            async with opened(client, init_script="echo the cause; exit 3"):
                pytest.fail("the block must not begin")
        assert caught.value.sandbox_id in str(caught.value)
        assert not await exists(client, caught.value.sandbox_id)

    on(use)


def test_failed_creation_with_keep_leaves_the_sandbox(on):
    async def use(client):
        with pytest.raises(CagedSandboxError, match="it was kept") as caught:
            async with opened(client, init_script="exit 3", keep=True):
                pytest.fail("the block must not begin")
        assert await exists(client, caught.value.sandbox_id)
        await result(client.sandboxes.destroy(caught.value.sandbox_id))
        assert pickle.loads(pickle.dumps(caught.value)).sandbox_id == caught.value.sandbox_id

    on(use)


def test_cancelled_block_destroys_the_sandbox(emulator):
    async def main():
        async with emulator.async_client() as client:
            opened_id = asyncio.get_running_loop().create_future()

            async def block():
                async with client.sandboxes.open() as box:
                    opened_id.set_result(box.id)
                    await asyncio.Event().wait()

            task = asyncio.ensure_future(block())
            sandbox_id = await opened_id
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert not await exists(client, sandbox_id)

    asyncio.run(main())


def test_calls_of_the_box_are_those_of_the_client(on, sandbox_id):
    async def use(client):
        box = client.sandboxes.bind(sandbox_id)
        assert (await result(box.info())).id == box.id == sandbox_id
        assert (await result(box.exec("echo $GREETING; exit 3", timeout=20))).exit_code == 3
        assert await result(box.logs(1)) == await result(client.sandboxes.logs(sandbox_id, 1))
        assert await result(box.ports()) == await result(client.sandboxes.ports(sandbox_id))

    on(use)


def test_status_follows_pause_and_resume(on):
    async def use(client):
        async with opened(client) as box:
            assert box.status == "running"
            await result(box.pause())
            assert (box.status, (await result(client.sandboxes.get(box.id))).status) == ("paused", "paused")
            await result(box.resume())
            assert (box.status, (await result(client.sandboxes.get(box.id))).status) == ("running", "running")

    on(use)


def test_box_bound_to_a_sandbox_has_its_fields(on, sandbox_id):
    async def use(client):
        sandbox = await result(client.sandboxes.get(sandbox_id))
        box = client.sandboxes.bind(sandbox)
        assert {field.name: getattr(box, field.name) for field in dataclasses.fields(sandbox)} == vars(sandbox)

    on(use)


def test_info_updates_the_fields(on, sandbox_id):
    async def use(client):
        box = client.sandboxes.bind(sandbox_id)
        with pytest.raises(
            CagedError, match=rf"template of sandbox {sandbox_id} is not known yet; call info\(\) first"
        ):
            assert box.template
        sandbox = await result(box.info())
        assert box.template == sandbox.template

    on(use)


def test_attributes_are_the_fields_of_a_sandbox():
    fields = {name: hint for name, hint in typing.get_type_hints(Sandbox).items() if name != "id"}
    hints = typing.get_type_hints(SandboxAttributes)
    assert {name: CachedField[hint] for name, hint in fields.items()} == {name: hints[name] for name in fields}
    assert [name for name in hints if name in vars(SandboxAttributes)] == list(fields)
    for name in fields:
        assert isinstance(getattr(BoundSandbox, name), CachedField)


def test_both_kinds_of_a_bound_sandbox_have_the_same_methods_and_signatures():
    def public(kind):
        return {
            name: list(inspect.signature(value).parameters.values())[1:] if callable(value) else type(value)
            for name, value in inspect.getmembers(kind)
            if not name.startswith("_")
        }

    assert public(BoundSandbox) == public(AsyncBoundSandbox)


def test_keep_of_a_bound_sandbox_cannot_be_unset(on, sandbox_id):
    async def use(client):
        box = client.sandboxes.bind(sandbox_id)
        assert box.keep
        box.keep = True
        with pytest.raises(CagedError, match=r"was not opened by a block; call destroy\(\)"):
            box.keep = False
        with pytest.raises(CagedError, match="keep must be True or False"):
            box.keep = 1

    on(use)


# --- without an emulator


SANDBOX = {"id": "cage_1", "status": "running", "template": "minimal"}


def block_of(driver, body):
    """A function of a client, of the driver's kind, that opens a sandbox and calls `body` in the block."""
    if driver.kind == "sync":

        def use(client):
            with client.sandboxes.open() as box:
                body(box)

        return use

    async def use_async(client):
        async with client.sandboxes.open() as box:
            body(box)

    return use_async


def test_failed_destruction_after_a_block_without_error_is_raised(driver):
    with pytest.raises(CagedSandboxError, match=r"cage_1 could not be destroyed and may still exist: .*out of order"):
        driver.run([js(SANDBOX), problem(500, title="out of order")], block_of(driver, lambda box: None))


def test_failed_destruction_does_not_replace_the_error_of_the_block(driver, caplog):
    def fail(box):
        raise KeyError("the block's")

    with pytest.raises(KeyError, match="the block's") as caught:
        driver.run([js(SANDBOX), problem(500, title="out of order")], block_of(driver, fail))
    expected = "sandbox cage_1 could not be destroyed and may still exist"
    assert [record.levelno for record in caplog.records if expected in record.getMessage()] == [logging.WARNING]
    if sys.version_info >= (3, 11):
        assert [expected in note for note in caught.value.__notes__] == [True]


def test_log_that_cannot_be_read_is_said_and_the_sandbox_is_destroyed(driver):
    answers = [js({**SANDBOX, "status": "error"}), problem(500, title="no log"), js(None, 204)]
    with pytest.raises(CagedSandboxError, match=r"its log cannot be read: .*no log"):
        driver.run(answers, block_of(driver, lambda box: None))
    assert [request.method for request in driver.requests] == ["POST", "GET", "DELETE"]


def test_arguments_are_checked_when_open_is_called(driver):
    for options, message in [
        ({"cpu": 2}, r"sandboxes.open has no argument 'cpu'; did you mean 'cpus'\?"),
        ({"repository": "r"}, r"sandboxes.open has no argument 'repository'; did you mean 'repo'\?"),
        ({"repo_subdirectory": "d"}, r"no argument 'repo_subdirectory'; did you mean 'repo_subdir'\?"),
        ({"repo_brnach": "b"}, r"no argument 'repo_brnach'; did you mean 'repo_branch'\?"),
        ({"cpus": "2"}, "cpus must be an int"),
        ({"template": ""}, "template is empty"),
        ({"keep": "no"}, "keep must be True or False"),
    ]:
        with pytest.raises(CagedError, match=message):
            driver.use(lambda client, options=options: client.sandboxes.open(**options))


def test_sandbox_that_was_not_entered_says_so():
    with Caged("k") as client:
        manager = client.sandboxes.open()
        with pytest.raises(AttributeError, match=r"'run'; enter it: `with caged.sandboxes.open\(...\) as box:`"):
            manager.run("true")
        assert repr(manager) == "<SandboxOpening, not entered>"
    with pytest.raises(AttributeError, match="`async with caged"):
        assert AsyncCaged("k").sandboxes.open().run


def test_sandbox_is_opened_once(driver):
    def use(client):
        manager = client.sandboxes.open()
        with manager:
            pass
        with manager:
            pass

    async def use_async(client):
        manager = client.sandboxes.open()
        async with manager:
            pass
        async with manager:
            pass

    with pytest.raises(CagedError, match="opened before"):
        driver.run([js(SANDBOX), js(None, 204)], use if driver.kind == "sync" else use_async)


class Requests:
    """A transport whose answers wait until a test lets them go."""

    def __init__(self):
        self.methods = []
        self.begun = asyncio.Event()
        self.destruction = asyncio.Event()
        self.answered = asyncio.Event()

    async def __call__(self, request):
        self.methods.append(request.method)
        (self.destruction if request.method == "DELETE" else self.begun).set()
        await self.answered.wait()
        return httpx.Response(204) if request.method == "DELETE" else httpx.Response(201, json=SANDBOX)

    def client(self):
        return AsyncCaged("k", "http://api.test", transport=httpx.MockTransport(self), max_retries=0)


def test_creation_that_is_cancelled_is_waited_for_and_the_sandbox_is_destroyed():
    async def main():
        requests = Requests()
        async with requests.client() as client:
            task = asyncio.ensure_future(client.sandboxes.open().__aenter__())
            await requests.begun.wait()
            task.cancel()
            await asyncio.sleep(0)
            requests.answered.set()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert requests.methods == ["POST", "DELETE"]

    asyncio.run(main())


def test_creation_without_answer_that_is_cancelled_ends_and_says_that_the_sandbox_may_exist(monkeypatch, caplog):
    monkeypatch.setattr(opening, "CREATION_PATIENCE", 0.01)

    async def main():
        requests = Requests()
        async with requests.client() as client:
            task = asyncio.ensure_future(client.sandboxes.open().__aenter__())
            await requests.begun.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())
    assert "the sandbox may exist" in caplog.text


@pytest.mark.parametrize("entering", [True, False])
def test_anyio_scope_cancellation_reaches_its_scope(entering):
    """anyio knows its own cancellations by what the exception holds, and repeats them until its scope has ended."""

    async def main():
        requests = Requests()
        if not entering:
            requests.answered.set()
        async with requests.client() as client:
            with anyio.CancelScope() as scope:

                async def cancel():
                    await requests.begun.wait()
                    scope.cancel()
                    await asyncio.sleep(0)
                    requests.answered.set()

                cancelling = asyncio.ensure_future(cancel())
                async with client.sandboxes.open():
                    await asyncio.Event().wait()
            await cancelling
            assert scope.cancelled_caught
            assert requests.methods == ["POST", "DELETE"]

    asyncio.run(main())


def test_cancellation_while_the_sandbox_is_destroyed_after_an_error_is_not_lost():
    async def main():
        requests = Requests()
        requests.answered.set()
        async with requests.client() as client:

            async def block():
                async with client.sandboxes.open():
                    requests.answered.clear()
                    raise KeyError("the block's")

            task = asyncio.ensure_future(block())
            await requests.destruction.wait()
            task.cancel()
            await asyncio.sleep(0)
            requests.answered.set()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert requests.methods == ["POST", "DELETE"]

    asyncio.run(main())


def test_destruction_is_completed_although_the_block_is_cancelled_again_and_again():
    async def main():
        requests = Requests()
        requests.answered.set()
        async with requests.client() as client:

            async def block():
                async with client.sandboxes.open():
                    requests.answered.clear()

            task = asyncio.ensure_future(block())
            await requests.destruction.wait()
            for _ in range(3):
                task.cancel()
                await asyncio.sleep(0)
            assert not task.done()
            requests.answered.set()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert requests.methods == ["POST", "DELETE"]

    asyncio.run(main())
