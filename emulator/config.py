"""The settings of an emulator, each described once: `Emulator(...)` and the command line have the same."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Optional, get_args

from .control.description import check_values, option, options_of
from .control.names import suggestion

#: How sandboxes are kept apart; `auto` takes the strongest level that works on the machine.
Isolation = Literal["auto", "namespace", "bwrap", "process"]
#: Plans, with their rate and plan limits.
Tier = Literal["free", "pro", "team"]
#: What a sandbox's memory limit holds: each of its processes, or all of them together.
MemoryLimit = Literal["process", "sandbox"]
#: What happens to a sandbox whose budget is spent.
BudgetAction = Literal["pause", "destroy"]
TIERS = get_args(Tier)


class ConfigError(ValueError):
    """A setting that cannot be used; the text says what to do instead."""

    __module__ = "caged.emulator"


@dataclass(frozen=True)
class EmulatorConfig:
    """The settings of an emulator."""

    host: str = option("127.0.0.1", "Address to listen on.")
    port: int = option(0, "Port to listen on; 0: a free one.", at_least=0, at_most=65535)
    api_key: Optional[str] = option(
        None, "API key of the first account; a random one by default.", environment="CAGED_EMULATOR_API_KEY"
    )
    admin_key: Optional[str] = option(
        None,
        "Key of the emulator's own controls (`/_emulator/…`); a random one by default.",
        environment="CAGED_EMULATOR_ADMIN_KEY",
    )
    isolation: Isolation = option(
        "auto",
        "How sandboxes are isolated: a level, which never degrades, or the strongest that works (`auto`).",
        environment="CAGED_ISOLATION",
    )
    state_dir: Optional[Path] = option(
        None, "Directory in which everything survives the emulator's end; a temporary one by default."
    )
    seed: Optional[int] = option(None, "Makes ids the same on every run.")
    tier: Optional[Tier] = option(None, "Plan whose rate and plan limits apply; none by default.")
    budget_action: BudgetAction = option("pause", "What happens to a sandbox whose budget is spent.")
    allow_hosts: tuple[str, ...] = option(
        (), "Names to accept in the Host header, besides loopback names and plain addresses.", flag="--allow-host"
    )
    allow_unenforced: bool = option(
        False, "Create sandboxes whose network mode the isolation cannot enforce, instead of refusing them."
    )
    limits: bool = option(True, "Hold each sandbox to its memory, cores and processes.", flag="--limits/--no-limits")
    memory_limit: MemoryLimit = option(
        "process",
        "What memory_mb limits: each process, or by a control group the whole sandbox (a create is slower then, and the"
        " right to make groups is needed).",
    )
    cache: bool = option(
        True, "Keep installed packages in the user's cache directory for later sandboxes.", flag="--cache/--no-cache"
    )
    cache_dir: Optional[Path] = option(
        None,
        "Directory in which they are kept; the directory `caged` in the user's cache directory by default.",
        environment="CAGED_CACHE_DIR",
    )
    cache_mb: int = option(
        4096, "Disk space of the cache; what was not used for longest is removed.", unit="MiB", at_least=1
    )
    scenario: Optional[Path] = option(
        None,
        "File (TOML, YAML, JSON) that describes what is there from the start; `caged-emulator init` writes one. A state"
        " directory that holds something already keeps its own.",
    )

    def __post_init__(self) -> None:
        try:
            check_values(self)
        except (TypeError, ValueError) as error:
            raise ConfigError(str(error)) from None
        if self.memory_limit == "sandbox" and not self.limits:
            raise ConfigError(
                "memory_limit: 'sandbox' has no effect with limits off (limits=False, --no-limits); use one of them"
            )
        if self.cache_dir is not None and not self.cache:
            raise ConfigError("cache_dir has no effect with the cache off (cache=False, --no-cache); use one of them")
        for name, key in (("api_key", self.api_key), ("admin_key", self.admin_key)):
            if key is not None and not (key and key.isascii() and key.isprintable()):
                raise ConfigError(f"{name} must be printable ASCII and not empty; leave it out for a random one")

    @classmethod
    def make(cls, **settings: Any) -> EmulatorConfig:
        """Make the settings from loosely typed values.

        Args:
            settings: Fields of this class by name. Paths may be texts, and `isolation` may be None, which means
                CAGED_ISOLATION, then `auto`.

        Raises:
            TypeError: There is no such setting.
            ConfigError: A setting cannot be used.
        """
        known = [one.name for one in options_of(cls)]
        for name in settings:
            if name not in known:
                raise TypeError(f"{name}: is not a setting of an emulator{suggestion(name, known)}")
        settings["isolation"] = settings.get("isolation") or os.environ.get("CAGED_ISOLATION") or "auto"
        settings["allow_hosts"] = tuple(settings.get("allow_hosts", ()))
        for name in ("state_dir", "cache_dir", "scenario"):
            settings[name] = Path(settings[name]) if settings.get(name) is not None else None
        return cls(**settings)
