"""What is done about leaks, unused controls and failed tests' sandboxes; read once when pytest is configured."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from ._target import choice

#: The first is the default.
LEAKS = ("ignore", "warn", "error")
UNUSED = ("error", "warn", "ignore")


@dataclass(frozen=True)
class Policy:
    """The settings.

    Attributes:
        leaks: What is done about sandboxes, snapshots and sockets that a test left open; one of LEAKS.
        unused: What is done about faults, stubs and replies that were never used; one of UNUSED.
        keep_failed: Whether the sandboxes of failed tests are kept.
    """

    leaks: str
    unused: str
    keep_failed: bool


POLICY = pytest.StashKey[Policy]()


def resolve(config: pytest.Config) -> Policy:
    """Read the settings from options, environment and ini file.

    Raises:
        pytest.UsageError: A setting has a value that is not allowed.
    """
    return Policy(
        leaks=choice(config, "caged_leaks", LEAKS, "caged_leaks"),
        unused=choice(config, "caged_unused", UNUSED, "caged_unused"),
        keep_failed=bool(config.getoption("caged_keep_failed", default=False)),
    )
