"""The behaviours that a session in a sandbox is tested for are those of the Agents SDK's local backend."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from agents.sandbox.sandboxes import UnixLocalSandboxClient
from agents.sandbox.session import SandboxSession
from test_session import *  # noqa: F403

pytestmark = pytest.mark.anyio


@pytest.fixture
def client() -> Any:
    return UnixLocalSandboxClient()


@pytest.fixture
async def session(client: Any) -> AsyncIterator[SandboxSession]:
    created = await client.create(options=None)
    async with created:
        yield created
    await client.delete(created)
