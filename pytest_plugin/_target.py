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

#: Settings that have an effect on the emulator only, with the sources that they have besides an option.
_EMULATOR_SETTINGS: dict[str, tuple[str, ...]] = {
    "caged_isolation": ("environment", "ini"),
    "caged_emulator_url": ("environment",),
    "caged_emulator_admin_key": ("environment",),
    "caged_shared": ("ini",),
    "caged_unused": ("environment", "ini"),
}
#: Settings that have an effect in live runs only. Their variables are those of the SDK, so no source but the option
#: says that they are meant for pytest.
_LIVE_SETTINGS = ("caged_api_key", "caged_base_url")


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
    _refuse_options_without_effect(config, live)
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


def _refuse_options_without_effect(config: pytest.Config, live: bool) -> None:
    """Raise pytest.UsageError for an option of the other target.

    Environment and ini file may have settings for both targets, so these are not refused: see
    `settings_without_effect`. With a target that was named, a key or a URL of live runs may stay, too.
    """
    if not live and not setting(config, "caged_target", ini=True):
        for name in _LIVE_SETTINGS:
            if config.getoption(name, default=None):
                raise pytest.UsageError(
                    f"{_flag(name)} has no effect on the emulator, which is the target by default; "
                    "add --caged-target=live"
                )
    if live:
        for name, sources in _EMULATOR_SETTINGS.items():
            if config.getoption(name, default=None):
                kept = f"; the ini option {name} may stay for runs on the emulator" if "ini" in sources else ""
                raise pytest.UsageError(
                    f"{_flag(name)} has no effect on a live run, which uses the real API and no emulator; "
                    f"remove it, or use --caged-target=emulator{kept}"
                )


def settings_without_effect(config: pytest.Config) -> list[str]:
    """Return the emulator's settings that environment and ini file have, which a live run does not use."""
    found = []
    for name, sources in _EMULATOR_SETTINGS.items():
        if "environment" in sources and os.environ.get(name.upper()):
            found.append(name.upper())
        if "ini" in sources and config.getini(name):
            found.append(f"{name} (ini)")
    return found


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


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
