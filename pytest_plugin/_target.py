"""What the fixtures point at, decided once when pytest is configured."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Optional

import pytest

# The SDK's own default, repeated because importing the SDK costs every suite its import of httpx.
LIVE_BASE_URL = "https://api.caged.dev"


@dataclass(frozen=True)
class Target:
    """`api_key` and `base_url` are those of the real API, and used in live runs only."""

    live: bool
    api_key: Optional[str]
    base_url: str
    isolation: str


TARGET = pytest.StashKey[Target]()


def resolve(config: pytest.Config) -> Target:
    """Option, else environment, else ini. Raises pytest.UsageError for a target that does not exist.

    The environment is read here and never again: while a fixture is active it says where the fixture points.
    """
    name = _setting(config, "caged_target", ini=True) or "emulator"
    if name not in ("emulator", "live"):
        raise pytest.UsageError(
            f"the caged target {name!r}, from CAGED_TARGET or the ini option caged_target, "
            "is neither emulator nor live"
        )
    return Target(
        live=name == "live",
        api_key=_setting(config, "caged_api_key"),
        base_url=(_setting(config, "caged_base_url") or LIVE_BASE_URL).rstrip("/"),
        isolation=_setting(config, "caged_isolation", ini=True) or "auto",
    )


def _setting(config: pytest.Config, name: str, ini: bool = False) -> Optional[str]:
    """An empty string counts as unset everywhere, as in `CAGED_TARGET= pytest`."""
    value = config.getoption(name, default=None) or os.environ.get(name.upper())
    if not value and ini:
        value = config.getini(name)
    return str(value) if value else None
