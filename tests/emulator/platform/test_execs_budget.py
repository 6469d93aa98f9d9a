"""The end of a budget in the moment in which a command ends, or its client disconnects."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest

from caged.emulator.cage.command_result import CommandResult
from caged.emulator.cage.init_client import InitClient, SandboxGone
from caged.emulator.cage.inside import frames
from caged.emulator.cage.output import OutputWatch
from caged.emulator.platform.execs import Execs

SANDBOX = cast(Any, SimpleNamespace(id="sbx", budget=1.0))
RESULT = CommandResult(b"done", 0, False)


class _Site:
    """A command that ends with `end`."""

    def __init__(self) -> None:
        self.execs = Execs(*cast(Any, [None] * 5), signals=cast(Any, SimpleNamespace(connect=lambda *_: None)))
        self.end: asyncio.Future[CommandResult] = asyncio.get_running_loop().create_future()
        self.was_killed = False
        self.task = asyncio.ensure_future(self.execs._unless_out_of_budget(SANDBOX, self._work()))

    async def _work(self) -> CommandResult:
        try:
            return await self.end
        except asyncio.CancelledError:
            self.was_killed = True
            raise

    async def begin(self) -> None:
        while not self.execs._waiting:  # noqa: ASYNC110
            await asyncio.sleep(0)
        await asyncio.sleep(0)  # the command's own task

    def use_up(self) -> None:
        self.execs._end_waiting(SANDBOX)


async def _begun() -> _Site:
    site = _Site()
    await site.begin()
    return site


def test_budget_ends_a_running_command() -> None:
    async def run() -> None:
        site = await _begun()
        site.use_up()
        with pytest.raises(SandboxGone, match=r"its budget of \$1\.00 was used up"):
            await site.task
        assert site.was_killed
        assert not site.execs._waiting

    asyncio.run(run())


@pytest.mark.parametrize("budget_first", [False, True])
def test_result_of_a_command_that_ends_with_the_budget_is_kept(budget_first: bool) -> None:
    async def run() -> None:
        site = await _begun()
        if budget_first:
            site.use_up()
        site.end.set_result(RESULT)
        site.use_up()
        assert await site.task is RESULT
        assert not site.execs._waiting

    asyncio.run(run())


@pytest.mark.parametrize("budget_first", [False, True])
def test_disconnect_that_comes_with_the_end_of_the_budget_cancels_the_exec(budget_first: bool) -> None:
    async def run() -> None:
        site = await _begun()
        steps = [site.use_up, site.task.cancel]
        for step in steps if budget_first else reversed(steps):
            step()
        with pytest.raises(asyncio.CancelledError):
            await site.task
        assert site.was_killed
        assert not site.execs._waiting

    asyncio.run(run())


class _Init:
    """The other side of an `InitClient` that runs one command, for an exec that ends with the budget."""

    def __init__(self, theirs: socket.socket, client: InitClient) -> None:
        self._control = theirs
        self._receiver = frames.Receiver(theirs)
        self._execs = Execs(*cast(Any, [None] * 5), signals=cast(Any, SimpleNamespace(connect=lambda *_: None)))
        self._client = client
        self.task = asyncio.ensure_future(self._exec())

    async def _exec(self) -> CommandResult:
        watch = OutputWatch()
        return await self._execs._until_out_of_budget(SANDBOX, watch, self._run(watch))

    async def _run(self, watch: OutputWatch) -> CommandResult:
        await asyncio.sleep(0)
        return await self._client.run(["true"], {}, "/", watch=watch)

    def use_up(self) -> None:
        self._execs._end_waiting(SANDBOX)

    async def received(self) -> list[str]:
        """What was requested of it up to now."""
        await asyncio.sleep(0)
        found = []
        self._control.setblocking(False)
        try:
            while True:
                for message, fds in self._receiver.receive():
                    found.append(str(message["op"]))
                    for fd in fds:
                        os.close(fd)
        except BlockingIOError:
            return found

    async def end(self) -> None:
        """Report that the command has ended, and let the client read that, but not the exec."""
        frames.send(self._control, {"ev": "exit", "id": 1, "code": 0})
        self._client._channel._readable()


@asynccontextmanager
async def _init() -> AsyncIterator[_Init]:
    ours, theirs = socket.socketpair()
    client = InitClient(ours, lambda: None)
    try:
        with theirs:
            yield _Init(theirs, client)
    finally:
        client._channel.close()


def test_budget_kills_a_command_that_runs_without_a_task_of_its_own() -> None:
    async def run() -> None:
        async with _init() as init:
            while not await init.received():
                pass
            init.use_up()
            with pytest.raises(SandboxGone, match=r"its budget of \$1\.00 was used up"):
                await init.task
            assert await init.received() == ["kill"]
            assert not init._execs._waiting

    asyncio.run(run())


def test_budget_that_is_used_up_before_the_command_starts_kills_it() -> None:
    async def run() -> None:
        async with _init() as init:
            await asyncio.sleep(0)
            init.use_up()
            with pytest.raises(SandboxGone, match="used up"):
                await init.task
            assert await init.received() == ["run", "kill"]

    asyncio.run(run())


def test_result_of_a_command_without_a_task_is_kept_when_it_ends_with_the_budget() -> None:
    async def run() -> None:
        async with _init() as init:
            while not await init.received():
                pass
            await init.end()
            init.use_up()
            assert (await init.task).code == 0
            assert await init.received() == []

    asyncio.run(run())


@pytest.mark.parametrize("budget_first", [False, True])
def test_disconnect_with_the_end_of_the_budget_cancels_an_exec_without_a_task(budget_first: bool) -> None:
    async def run() -> None:
        async with _init() as init:
            while not await init.received():
                pass
            steps = [init.use_up, init.task.cancel]
            for step in steps if budget_first else reversed(steps):
                step()
            with pytest.raises(asyncio.CancelledError):
                await init.task
            assert await init.received() == ["kill"]
            assert not init._execs._waiting

    asyncio.run(run())
