"""Every setting of an emulator: its default, what it may be, and where it comes from."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Optional, Union, get_args

from .cage.isolation import LEVELS

ISOLATION_LEVELS = ("auto", *LEVELS)
#: How sandboxes are kept apart; `auto` takes the strongest level that works on the machine.
Isolation = Literal["auto", "namespace", "bwrap", "process"]
#: Plans, with their rate and plan limits.
Tier = Literal["free", "pro", "team"]
#: What a sandbox's memory limit holds: each of its processes, or all of them together.
MemoryLimit = Literal["process", "sandbox"]
#: What happens to a sandbox whose budget is spent.
BudgetAction = Literal["pause", "destroy"]
TIERS = get_args(Tier)
MEMORY_LIMITS = get_args(MemoryLimit)
BUDGET_ACTIONS = get_args(BudgetAction)


class ConfigError(ValueError):
    """A setting that cannot be used; the text says what to do instead."""

    __module__ = "caged.emulator"


@dataclass(frozen=True)
class EmulatorConfig:
    """host, port: where to listen; port 0 takes a free one. api_key: None makes a random one.
    admin_key: what the emulator's own controls want (`/_emulator/…`); None makes a random one.
    isolation: `auto`, or a level by name, which then never degrades. state_dir: a directory in which
    everything survives the emulator's end, by `kill -9` too; None: a temporary one, removed at the end.
    seed: makes ids repeatable. tier: free, pro or team turns rate and plan limits on.
    budget_action: what happens at 100 % of a budget. allow_hosts: names that may stand in a Host header besides
    loopback names and plain addresses. allow_unenforced: create sandboxes with network modes that the isolation in use
    cannot enforce, instead of refusing them. limits: hold each sandbox to its memory, cores and processes.
    memory_limit: what memory_mb holds: each `process`, or by a control group the whole `sandbox`, which makes a create
    slower and needs the right to make groups. scenario: a file (TOML, YAML, JSON) of what is there from the start; a
    state directory that holds something already has its own."""

    host: str = "127.0.0.1"
    port: int = 0
    api_key: Optional[str] = None
    admin_key: Optional[str] = None
    isolation: str = "auto"
    state_dir: Optional[Path] = None
    seed: Optional[int] = None
    tier: Optional[str] = None
    budget_action: str = "pause"
    allow_hosts: tuple[str, ...] = ()
    allow_unenforced: bool = False
    limits: bool = True
    memory_limit: str = "process"
    scenario: Optional[Path] = None

    def __post_init__(self) -> None:
        if not isinstance(self.port, int) or not 0 <= self.port <= 65535:
            raise ConfigError(f"port {self.port} is not between 0 and 65535")
        for name, key in (("api_key", self.api_key), ("admin_key", self.admin_key)):
            if key is not None and not (key and key.isascii() and key.isprintable()):
                raise ConfigError(f"{name} must be printable ASCII and not empty; leave it out for a random one")
        if self.isolation not in ISOLATION_LEVELS:
            raise ConfigError(f"isolation {self.isolation!r} is unknown; use one of {', '.join(ISOLATION_LEVELS)}")
        if self.tier is not None and self.tier not in TIERS:
            raise ConfigError(f"tier {self.tier!r} is unknown; use one of {', '.join(TIERS)}, or none")
        if self.memory_limit not in MEMORY_LIMITS:
            raise ConfigError(f"memory limit {self.memory_limit!r} is unknown; use process or sandbox")
        if self.budget_action not in BUDGET_ACTIONS:
            raise ConfigError(f"budget action {self.budget_action!r} is unknown; use pause or destroy")

    @classmethod
    def make(
        cls,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        api_key: Optional[str] = None,
        admin_key: Optional[str] = None,
        isolation: Optional[str] = None,
        state_dir: Union[os.PathLike[str], str, None] = None,
        seed: Optional[int] = None,
        tier: Optional[str] = None,
        budget_action: str = "pause",
        allow_hosts: tuple[str, ...] = (),
        allow_unenforced: bool = False,
        limits: bool = True,
        memory_limit: str = "process",
        scenario: Union[os.PathLike[str], str, None] = None,
    ) -> EmulatorConfig:
        """From loosely typed arguments; isolation falls back to CAGED_ISOLATION, then `auto`."""
        return cls(
            host=host,
            port=port,
            api_key=api_key,
            admin_key=admin_key,
            isolation=isolation or os.environ.get("CAGED_ISOLATION") or "auto",
            state_dir=Path(state_dir) if state_dir is not None else None,
            seed=seed,
            tier=tier,
            budget_action=budget_action,
            allow_hosts=tuple(allow_hosts),
            allow_unenforced=allow_unenforced,
            limits=limits,
            memory_limit=memory_limit,
            scenario=Path(scenario) if scenario is not None else None,
        )
