"""The end of a budget in the moment in which a command ends, or its client disconnects."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from caged.emulator.cage.command_result import CommandResult
from caged.emulator.cage.init_client import SandboxGone
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
