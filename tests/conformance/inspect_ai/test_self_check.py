"""Inspect's suite for sandbox environments, unchanged, in two sandboxes: as root, and as another user."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from inspect_ai.util import SandboxEnvironment
from inspect_ai.util._sandbox.self_check import *  # noqa: F403

from caged.integrations.inspect_ai import CagedSandboxConfig, CagedSandboxEnvironment

pytestmark = pytest.mark.anyio

SETTINGS = {
    "root": CagedSandboxConfig(),
    "user": CagedSandboxConfig(user="agent", init_script="useradd --create-home agent && chown agent /workspace"),
}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=SETTINGS)
async def sandbox_env(request: pytest.FixtureRequest, caged_emulator: Any) -> AsyncIterator[SandboxEnvironment]:
    settings = SETTINGS[request.param]
    environments = await CagedSandboxEnvironment.sample_init("suite", settings, {})
    yield environments["default"]
    await CagedSandboxEnvironment.sample_cleanup("suite", settings, environments, False)
