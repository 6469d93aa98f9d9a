"""Fixtures of a downstream project, in every scope and order."""

from __future__ import annotations

import pytest


@pytest.fixture
def outage(caged_emulator):
    """Set up before `caged` where a test names it first."""
    caged_emulator.faults.add("sandboxes.list", status=503, times=1)


@pytest.fixture(scope="module")
def team(caged_factory):
    with caged_factory.account() as account:
        yield account


@pytest.fixture(scope="module")
def team_box(team):
    return team.client().sandboxes.create()


@pytest.fixture(scope="module")
def too_wide(caged):
    return caged
