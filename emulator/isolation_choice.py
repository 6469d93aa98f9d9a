"""The choice of an isolation level when an emulator starts: what the machine supports, and files with keys allow."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

from .cage.chosen_isolation import ChosenIsolation
from .cage.hidden_directories import can_be_hidden, key_directory
from .cage.probe import choose, describe
from .cage.zygote import Zygote
from .config import ConfigError, EmulatorConfig
from .discovery import locator_directories

logger = logging.getLogger(__name__)


async def choose_isolation(
    config: EmulatorConfig, zygote: Zygote, run_dir: Path, key_files: Sequence[Path], chosen: ChosenIsolation
) -> None:
    """Choose the isolation level, and warn about what a weak one means.

    Args:
        config: The settings of the emulator.
        zygote: Starts the processes of the probes.
        run_dir: The run directory of the emulator.
        key_files: Files outside of the state directory that will hold keys of the emulator.
        chosen: Where the choice is kept.

    Raises:
        IsolationUnavailable: The requested level does not work here.
        ConfigError: A file with keys cannot be hidden from sandboxes.
    """
    keys = {key_directory(path): path for path in key_files}
    # The directories of other emulators' keys.
    locators = [key_directory(directory / "locator") for directory, _ in locator_directories()]
    isolation, probe_results = await choose(config.isolation, zygote, run_dir, [*keys, *locators])
    visible = next((path for directory, path in keys.items() if not can_be_hidden(directory)), None)
    if isolation.own_network and visible is not None:
        raise ConfigError(
            f"{visible} would hold keys in a directory that every sandbox needs to see; use a directory outside of"
            " /etc, /usr, /var and their like, such as the project's, for the ready file, the output and"
            " CAGED_EMULATOR_LOCATOR_DIR"
        )
    chosen.choose(isolation, probe_results)
    if probe_results[-1].root_refused:
        logger.info(
            "the root of sandboxes is writable in part: overlays cannot be mounted: %s. To change that: %s",
            probe_results[-1].root_refused,
            probe_results[-1].root_fix,
        )
    if isolation.level == "process" and config.isolation == "auto":
        refused = "; ".join(describe(probe_result) for probe_result in probe_results if not probe_result.works)
        logger.warning("sandboxes have process isolation only. %s", refused)
    if not probe_results[-1].confined and os.geteuid() == 0:
        logger.warning(
            "sandboxes run as root, and a command can end every process of root on this machine"
            " (kill -9 -1, pkill): isolation 'process' was chosen by name and signals cannot be confined here"
        )
