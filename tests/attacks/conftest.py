"""Attacks on the emulator. `scripts/attacks --long` sets CAGED_ATTACKS_LONG: more seeds, more shapes, larger sizes."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# The helpers of the emulator's tests are used here too.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "emulator"))

from emulator_testing import Api, api_of

from caged.emulator import Emulator


@pytest.fixture(scope="session")
def long_form() -> bool:
    return bool(os.environ.get("CAGED_ATTACKS_LONG"))


@pytest.fixture(scope="session")
def emulator() -> Iterator[Emulator]:
    with Emulator(allow_unused=True) as running:
        yield running


@pytest.fixture
def api(emulator: Emulator) -> Iterator[Api]:
    """A client of a new account."""
    yield from _account(emulator)


@pytest.fixture
def other(emulator: Emulator) -> Iterator[Api]:
    """Another account on the same emulator."""
    yield from _account(emulator)


def _account(emulator: Emulator) -> Iterator[Api]:
    with api_of(emulator) as made:
        yield made
    emulator.remove_account(made.account_id)
