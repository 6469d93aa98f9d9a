"""This process's hold on the ledger of a live run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

import pytest

from . import _summary
from ._target import TARGET

if TYPE_CHECKING:
    from caged._runs import Ledger

_LEDGER: pytest.StashKey[Optional[Ledger]] = pytest.StashKey()


def ledger(config: pytest.Config, api_key: str) -> Optional[Ledger]:
    """Opened when it is first needed. None, and a line at the end of the run, when there is no place for it."""
    if _LEDGER not in config.stash:
        from caged._runs import Ledger

        target = config.stash[TARGET]
        try:
            opened = config.stash[_LEDGER] = Ledger(target.run, target.base_url, api_key)
            config.add_cleanup(opened.close)
        except OSError as error:
            config.stash[_LEDGER] = None
            why = f"what it creates is noted nowhere, and `caged-emulator sweep` will not know of it: {error}; "
            _summary.say(config, _summary.NOTES, "live run", [why + "CAGED_RUNS_DIR names another place"])
    return config.stash[_LEDGER]
