"""pydantic-ai's suite for workspaces, unchanged, against a sandbox of the emulator."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from pydantic_ai.workspaces import WorkspaceRef
from pydantic_ai.workspaces.conformance import WorkspaceBackendSuite

from caged import AsyncCaged
from caged.integrations.pydantic_ai import CagedWorkspace


class TestCagedWorkspace(WorkspaceBackendSuite):
    @pytest.fixture
    def anyio_backend(self) -> str:
        return "asyncio"

    @pytest.fixture
    def fresh_backend(self, async_caged: AsyncCaged) -> Callable[[], CagedWorkspace]:
        return lambda: CagedWorkspace(async_caged)

    @pytest.fixture
    def backend(self, fresh_backend: Callable[[], CagedWorkspace]) -> CagedWorkspace:
        return fresh_backend()

    @pytest.fixture
    def attach_backend(self, async_caged: AsyncCaged) -> Callable[[WorkspaceRef], CagedWorkspace]:
        return lambda ref: CagedWorkspace(async_caged, ref=ref)

    @pytest.fixture
    def destroy_environment(self, async_caged: AsyncCaged) -> Callable[[CagedWorkspace], Awaitable[None]]:
        async def destroy(backend: CagedWorkspace) -> None:
            assert backend.ref is not None
            await async_caged.sandboxes.destroy(backend.ref.id)

        return destroy
