"""The clients that the tests of a session run with."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from agents.sandbox.session import SandboxSession

from caged import AsyncCaged
from caged.integrations.openai_agents import CagedSandboxClient


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def client(async_caged: AsyncCaged) -> AsyncIterator[Any]:
    """The client of this project; `own_backend.py` has another one."""
    async with async_caged:
        yield CagedSandboxClient(async_caged)


@pytest.fixture
async def session(client: Any) -> AsyncIterator[SandboxSession]:
    """A session that has begun."""
    created = await client.create(options=None)
    async with created:
        yield created
    await client.delete(created)
