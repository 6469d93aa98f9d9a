"""Attacks on the emulator. `scripts/attacks --long` sets CAGED_ATTACKS_LONG: more seeds, more shapes, larger sizes."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

# What the emulator's tests share is used here too.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "emulator"))


@pytest.fixture(scope="session")
def long_form() -> bool:
    return bool(os.environ.get("CAGED_ATTACKS_LONG"))
