"""The ledger of a live run, as this process writes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

import pytest

from . import _summary
from ._target import TARGET

if TYPE_CHECKING:
    from caged._runs import Ledger

_LEDGER: pytest.StashKey[Optional[Ledger]] = pytest.StashKey()


def open_ledger(config: pytest.Config, api_key: str) -> Optional[Ledger]:
    """Open the ledger, once for the run. None, and a line at the end of the run, when it cannot be written."""
    if _LEDGER not in config.stash:
        from caged._runs import Ledger

        target = config.stash[TARGET]
        try:
            opened = config.stash[_LEDGER] = Ledger(target.run, target.base_url, api_key)
            config.add_cleanup(opened.close)
        except OSError as error:
            config.stash[_LEDGER] = None
            why = f"what it creates is not recorded, and `caged-emulator sweep` cannot find it: {error}; "
            _summary.add(config, _summary.NOTES, "live run", [why + "CAGED_RUNS_DIR names another place"])
    return config.stash[_LEDGER]
