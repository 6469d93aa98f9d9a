"""What becomes of what a test leaves behind, decided once when pytest is configured."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from ._target import choice

#: The first is the default.
LEAKS = ("ignore", "warn", "error")
UNUSED = ("error", "warn", "ignore")


@dataclass(frozen=True)
class Policy:
    """`leaks`: of sandboxes, snapshots and sockets left open. `unused`: of faults and stubs that met nothing.
    `keep_failed`: the sandboxes of failed tests can be looked at afterwards."""

    leaks: str
    unused: str
    keep_failed: bool


POLICY = pytest.StashKey[Policy]()


def resolve(config: pytest.Config) -> Policy:
    """pytest.UsageError for a setting that does not exist."""
    return Policy(
        leaks=choice(config, "caged_leaks", LEAKS, "caged_leaks"),
        unused=choice(config, "caged_unused", UNUSED, "caged_unused"),
        keep_failed=bool(config.getoption("caged_keep_failed", default=False)),
    )
