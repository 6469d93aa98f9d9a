"""How many sandboxes are made before they are requested, and when they go. What they are does not matter here."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Callable, cast

import pytest

from caged.emulator import descriptors
from caged.emulator.cage import pool as pool_module
from caged.emulator.cage.init_client import InitClient, SandboxGone
from caged.emulator.cage.paths import Layout
from caged.emulator.cage.pool import MOST, MOST_KINDS, MOST_OF_KIND, ReadySandbox, SandboxPool


class FakeInit:
    def __init__(self) -> None:
        self.connected = True
        self.descriptors = 2

    def is_connected(self) -> bool:
        return self.connected


class Site:
    """Builds sandboxes that are nothing but an object, and notes which were removed."""

    def __init__(self) -> None:
        self.built: list[ReadySandbox] = []
        self.discarded: list[ReadySandbox] = []
        self.at_once = self.most_at_once = 0
        self.failing = False
        self.pool: SandboxPool[str] = SandboxPool(self.build, self.discard)

    async def build(self, kind: str) -> ReadySandbox:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(0)
        self.at_once -= 1
        if self.failing:
            raise SandboxGone("no")
        name = f"{kind}-{len(self.built)}"
        self.built.append(ReadySandbox(name, Layout(Path("/nowhere", name)), cast(InitClient, FakeInit()), None))
        return self.built[-1]

    async def discard(self, one: ReadySandbox) -> None:
        self.discarded.append(one)

    async def settle(self) -> None:
        """Wait until what is wanted was built."""
        while not self.pool.is_settled:  # noqa: ASYNC110
            await asyncio.sleep(0.001)

    async def request(self, kind: str = "a", times: int = 1) -> list[Any]:
        taken = [self.pool.take(kind) for _ in range(times)]
        await self.settle()
        return taken


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    """Runs a test with a site on an event loop."""
    monkeypatch.setattr(pool_module, "BUILD_DELAY", 0.0)

    def run(test: Any) -> None:
        async def with_site() -> None:
            site = Site()
            await asyncio.wait_for(test(site), 60)
            await site.pool.close()
            assert len(site.pool) == 0

        asyncio.run(with_site())

    return run


def test_the_first_two_requests_make_nothing(run):
    async def test(site: Site) -> None:
        assert await site.request(times=2) == [None, None]
        assert site.built == []

    run(test)


def test_it_grows_with_the_requests_up_to_a_bound(run):
    async def test(site: Site) -> None:
        await site.request(times=3)
        assert len(site.pool) == 1
        await site.request(times=40)
        assert len(site.pool) == MOST_OF_KIND
        assert site.most_at_once == 1

    run(test)


def test_what_was_taken_is_replaced_and_nothing_is_assigned_twice(run):
    async def test(site: Site) -> None:
        await site.request(times=20)
        taken = [one for _ in range(10) for one in await site.request()]
        assert None not in taken
        assert len({one.id for one in taken}) == 10
        assert len(site.pool) == MOST_OF_KIND
        assert site.discarded == []

    run(test)


def test_kinds_share_a_bound_and_none_gets_one_of_another(run):
    async def test(site: Site) -> None:
        for kind in "abcd":
            await site.request(kind, 20)
        assert len(site.pool) == MOST
        assert site.pool.take("a") is None  # the kind that was requested last displaced it
        (found,) = await site.request("d")
        assert found.id.startswith("d-")

    run(test)


def test_only_so_many_kinds_are_counted(run):
    async def test(site: Site) -> None:
        await site.request("first", 20)
        for number in range(MOST_KINDS):
            site.pool.take(f"kind {number}")
        await site.settle()
        assert len(site.pool.kinds) == MOST_KINDS
        assert len(site.discarded) == MOST_OF_KIND

    run(test)


def test_one_whose_init_has_ended_is_not_assigned(run):
    async def test(site: Site) -> None:
        await site.request(times=20)
        cast(FakeInit, site.built[0].init).connected = False  # the event loop has not noticed it
        site.pool.lose(site.built[1].init)
        assert (await site.request())[0] is site.built[2]
        assert site.discarded == [site.built[1], site.built[0]]

    run(test)


def test_a_build_that_fails_is_not_repeated_without_requests(run):
    async def test(site: Site) -> None:
        site.failing = True
        assert await site.request(times=20) == [None] * 20
        site.failing = False
        await site.settle()
        assert site.built == []
        await site.request(times=3)
        assert len(site.pool) == 1

    run(test)


def test_they_go_when_none_was_requested_for_a_while(run, monkeypatch):
    monkeypatch.setattr(pool_module, "IDLE_SECONDS", 0.05)

    async def test(site: Site) -> None:
        await site.request(times=20)
        while len(site.discarded) < len(site.built):  # noqa: ASYNC110 - there is nothing to wait for but the removal
            await asyncio.sleep(0.005)
        assert len(site.pool) == 0
        assert site.pool._idle_timer is None

    run(test)


def test_all_are_removed_when_something_else_needs_their_descriptors_and_others_are_made_later(run, monkeypatch):
    async def test(site: Site) -> None:
        await site.request(times=20)
        assert site.pool.descriptors == 2 * MOST_OF_KIND
        site.pool.take("a")
        while site.pool._building is None:  # noqa: ASYNC110
            await asyncio.sleep(0)
        await site.pool.release()
        assert site.discarded == [one for one in site.built if one is not site.built[0]]
        assert len(site.pool) == site.pool.descriptors == 0
        await site.settle()
        assert len(site.pool) == 0
        await site.request(times=20)
        assert len(site.pool) == MOST_OF_KIND

    run(test)


def test_none_is_made_while_few_descriptors_are_free(run, monkeypatch):
    monkeypatch.setattr(descriptors, "count_free", lambda: 2 * descriptors.reserve())

    async def test(site: Site) -> None:
        assert await site.request(times=20) == [None] * 20
        assert site.built == []

    run(test)


def test_none_is_made_after_the_end(run):
    async def test(site: Site) -> None:
        for _ in range(3):
            site.pool.take("a")
        await site.pool.close()
        assert await site.request(times=20) == [None] * 20
        assert site.built == site.discarded

    run(test)
