"""The target of the fixtures, the emulator or the real API; read once when pytest is configured."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional, cast

import pytest

if TYPE_CHECKING:
    from caged.emulator import Isolation

# The SDK's own default, repeated because importing the SDK costs every suite its import of httpx.
LIVE_BASE_URL = "https://api.caged.dev"

#: Keys of what the controller of xdist sends its workers: the run's id, and the emulator that they share.
RUN_INPUT = "caged_run"
EMULATOR_INPUT = "caged_emulator"


@dataclass(frozen=True)
class Target:
    """The settings.

    Attributes:
        live: Whether the target is the real API.
        api_key: Key of the real API; used in live runs only.
        base_url: URL of the real API; used in live runs only.
        isolation: Isolation level of the emulator.
        run: Id of a live run; empty on the emulator.
        emulator_url: A running emulator to use; None: this process starts one.
        admin_key: The admin key of the running emulator.
        shared: Whether one emulator serves all workers of xdist.
    """

    live: bool
    api_key: Optional[str]
    base_url: str
    isolation: Isolation
    run: str = ""
    emulator_url: Optional[str] = None
    admin_key: Optional[str] = None
    shared: bool = False


TARGET = pytest.StashKey[Target]()


def resolve(config: pytest.Config) -> Target:
    """Read the settings: option, else environment, else ini.

    The environment is read here and never again, because an active fixture changes it.

    Raises:
        pytest.UsageError: A setting is unknown, or has no effect on the chosen target.
    """
    received: dict[str, Any] = getattr(config, "workerinput", {})
    live = choice(config, "caged_target", ("emulator", "live"), "the caged target") == "live"
    url, key = setting(config, "caged_emulator_url"), setting(config, "caged_emulator_admin_key")
    if config.getoption("caged_api_key", default=None) and not setting(config, "caged_target", ini=True):
        raise pytest.UsageError(
            "--caged-api-key has no effect on the emulator, which is the target by default; add --caged-target=live"
        )
    for option in ("caged_emulator_url", "caged_emulator_admin_key"):
        if live and config.getoption(option, default=None):
            raise pytest.UsageError(
                f"--{option.replace('_', '-')} has no effect on a live run, which uses the real API and no emulator; "
                "remove it, or use --caged-target=emulator"
            )
    if config.getoption("caged_emulator_admin_key", default=None) and not url:
        raise pytest.UsageError("--caged-emulator-admin-key has no effect without --caged-emulator-url=URL; add that")
    if EMULATOR_INPUT in received:
        url, key = received[EMULATOR_INPUT]
    return Target(
        live=live,
        api_key=setting(config, "caged_api_key"),
        base_url=(setting(config, "caged_base_url") or LIVE_BASE_URL).rstrip("/"),
        # The emulator that is started with it checks whether the level exists.
        isolation=cast("Isolation", setting(config, "caged_isolation", ini=True) or "auto"),
        run=(received.get(RUN_INPUT) or f"run_{os.urandom(8).hex()}") if live else "",
        emulator_url=url.rstrip("/") if url and not live else None,
        admin_key=key,
        shared=bool(config.getoption("caged_shared", default=False) or config.getini("caged_shared")),
    )


def choice(config: pytest.Config, name: str, allowed: tuple[str, ...], what: str) -> str:
    """The value of a setting that has a closed set of values. The first of `allowed` is the default."""
    value = setting(config, name, ini=True) or allowed[0]
    if value not in allowed:
        either = "neither" if len(allowed) == 2 else "none of"
        listed = f"{', '.join(allowed[:-1])} {'nor' if len(allowed) == 2 else 'and'} {allowed[-1]}"
        raise pytest.UsageError(f"{what} {value!r}, from {name.upper()} or the ini option {name}, is {either} {listed}")
    return value


def setting(config: pytest.Config, name: str, ini: bool = False) -> Optional[str]:
    """The value of a setting. An empty string counts as unset, as in `CAGED_TARGET= pytest`."""
    value = config.getoption(name, default=None) or os.environ.get(name.upper())
    if not value and ini:
        value = config.getini(name)
    return str(value) if value else None
