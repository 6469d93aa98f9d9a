"""The behaviours in tests/conformance/openai_agents can be imported from here."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "conformance" / "openai_agents"))


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
