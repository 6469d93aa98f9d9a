"""Imports, signatures and error messages of the public API are correct."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from caged import AsyncCaged, Caged, CagedError


def test_misspelt_import__fails():
    from caged import Sandboxx  # noqa: F401


def test_misspelt_import_of_the_emulator__fails():
    from caged.emulator import Emulatorr  # noqa: F401


def test_public_types_can_be_imported__passes():
    from caged.emulator import (  # noqa: F401
        AccountView,
        Agent,
        BaseEmulator,
        Clock,
        CommandRecord,
        Controls,
        EventRecord,
        FaultHandle,
        Journal,
        PromptRecord,
        RequestRecord,
        StubHandle,
    )


def test_misspelt_keyword_of_create__fails(caged):
    caged.sandboxes.create(templat="node-20")


def test_refused_connection__fails():
    with Caged(api_key="caged_sk_x", base_url="http://127.0.0.1:9", max_retries=0) as client:
        client.sandboxes.list()


def test_second_event_loop__passes(caged_emulator):
    client = AsyncCaged(api_key=caged_emulator.api_key, base_url=caged_emulator.base_url)
    asyncio.run(client.account.get())
    for _ in range(3):
        with pytest.raises(CagedError, match="loop"):
            asyncio.run(client.account.get())


def test_durations_and_bytes__passes(caged_emulator, caged):
    before = caged_emulator.clock.now()
    assert caged_emulator.clock.advance(timedelta(hours=1)) - before >= timedelta(hours=1)
    caged_emulator.agent("claude").reply("done", files={"a": b"x"})
    box = caged.sandboxes.create(agents=["claude"])
    caged.sandboxes.exec(box.id, "claude -p go")
    assert caged.files.read(box.id, "a") == "x"


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(lambda e: e.journal.assert_ran(None), id="assert_ran"),
        pytest.param(lambda e: e.commands.stub(5), id="stub"),
        pytest.param(lambda e: e.agent("claude").reply(3), id="reply"),
        pytest.param(lambda e: e.spend("cage_00000000", "3"), id="spend"),
        pytest.param(lambda e: Caged(api_key="k", base_url="http://127.0.0.1:1/v1"), id="base_url"),
    ],
)
def test_wrong_values_are_explained__passes(caged_emulator, call):
    with pytest.raises((TypeError, ValueError, CagedError)) as caught:
        call(caged_emulator)
    assert len(str(caught.value)) > 20
