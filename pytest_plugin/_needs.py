"""`@pytest.mark.caged_needs("namespace")`: a test that must not run behind weaker walls."""

from __future__ import annotations

import pytest

from ._target import TARGET

#: `bwrap` is `namespace`, built by another program. The real platform's walls are stronger than any of these.
_STRENGTH = {"process": 0, "bwrap": 1, "namespace": 1}
LEVELS = ("namespace", "process")


def require_walls(item: pytest.Item, live: bool) -> None:
    """Makes a test with the marker look at the emulator's walls first. Which those are is known only when one runs."""
    marker = item.get_closest_marker("caged_needs")
    if marker is None:
        return  # a file or a function of that name
    if len(marker.args) != 1 or marker.kwargs or marker.args[0] not in LEVELS:
        raise pytest.UsageError(
            f"{item.nodeid}: caged_needs takes one level, {' or '.join(map(repr, LEVELS))}; "
            "write @pytest.mark.caged_needs('namespace')"
        )
    if not live:
        # Before any other fixture: nothing is to be made for a test that is skipped.
        names = getattr(item, "fixturenames", None)
        if names is None:
            raise pytest.UsageError(f"{item.nodeid}: caged_needs works on test functions and methods only")
        names.insert(0, "_caged_walls")


@pytest.fixture
def _caged_walls(request: pytest.FixtureRequest) -> None:
    needed = request.node.get_closest_marker("caged_needs").args[0]
    emulator = request.getfixturevalue("caged_emulator")
    if _STRENGTH[emulator.isolation] >= _STRENGTH[needed]:
        return
    refused = "; ".join(emulator.isolation_refused)
    asked = request.config.stash[TARGET].isolation
    why = refused or f"isolation={asked} was asked for"
    pytest.skip(f"caged_needs('{needed}'): the emulator has {emulator.isolation} walls. {why}")
