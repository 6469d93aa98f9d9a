"""`@pytest.mark.caged_needs("namespace")`: a test that must not run behind weaker isolation."""

from __future__ import annotations

import pytest

from ._target import TARGET

#: `bwrap` is `namespace`, built by another program. The real platform's isolation is stronger than any of these.
_STRENGTH = {"process": 0, "bwrap": 1, "namespace": 1}


def require_isolation(item: pytest.Item) -> None:
    """Let a test with the marker compare the emulator's isolation level first: it is known only when one runs."""
    # Before any other fixture: nothing is to be created for a test that is skipped.
    names: list[str] = getattr(item, "fixturenames")  # noqa: B009
    names.insert(0, "_caged_isolation")


@pytest.fixture
def _caged_isolation(request: pytest.FixtureRequest) -> None:
    needed = request.node.get_closest_marker("caged_needs").args[0]
    emulator = request.getfixturevalue("_caged_running")
    if _STRENGTH[emulator.isolation] >= _STRENGTH[needed]:
        return
    refused = "; ".join(emulator.isolation_refused)
    asked = request.config.stash[TARGET].isolation
    why = refused or f"isolation={asked} was asked for"
    pytest.skip(f"caged_needs('{needed}'): the emulator has {emulator.isolation} isolation. {why}")
