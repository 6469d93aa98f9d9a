"""Emulators of the command line: at level `process`, whose start takes a third less time than one with namespaces."""

from __future__ import annotations

import pytest


@pytest.fixture
def env(env: dict[str, str]) -> dict[str, str]:
    """The environment of a test's commands. One that is about the level sets it itself."""
    return {**env, "CAGED_ISOLATION": "process"}
