"""`@pytest.mark.caged_needs("namespace")`: skips a test where the emulator has weaker isolation."""

from __future__ import annotations

import pytest

from ._target import TARGET

#: `bwrap` is `namespace`, made by another program. The real platform's isolation is stronger than any of these.
_STRENGTH = {"process": 0, "bwrap": 1, "namespace": 1}


def require_isolation(item: pytest.Item) -> None:
    """Compare isolation levels when a test with the marker is set up: an emulator's level is known once it runs."""
    # Before any other fixture, so that nothing is created for a test that is skipped.
    names: list[str] = getattr(item, "fixturenames")  # noqa: B009
    names.insert(0, "_caged_isolation")


@pytest.fixture
def _caged_isolation(request: pytest.FixtureRequest) -> None:
    needed = request.node.get_closest_marker("caged_needs").args[0]
    emulator = request.getfixturevalue("_caged_running")
    if _STRENGTH[emulator.isolation] >= _STRENGTH[needed]:
        return
    refused = "; ".join(emulator.isolation_refused)
    requested = request.config.stash[TARGET].isolation
    why = refused or f"isolation={requested} was requested"
    pytest.skip(f"caged_needs('{needed}'): the emulator has {emulator.isolation} isolation. {why}")
