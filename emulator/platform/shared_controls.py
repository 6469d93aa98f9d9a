"""What applies to all accounts (`account="*"`): faults, stubs, agents' replies, fake repositories, prepared
sandboxes, and the time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..control.agent_replies import ScriptedReply
from ..control.current_account import ALL_ACCOUNTS
from ..control.records import SharedControl
from ..control.registry import Control

if TYPE_CHECKING:
    from .platform import Platform

#: Below /_emulator: where all accounts' time is reset by a DELETE.
CLOCK_PATH = "/clock"
#: The path of the other kinds of controls, by what one of them is called.
_COLLECTIONS = {"fault": "faults", "stub": "commands", "repository": "repos", "prepared": "prepared"}


def shared_controls(platform: Platform) -> list[SharedControl]:
    """List the controls of all accounts, those of each kind in the order in which they were added. Any thread may call
    it."""
    found = [
        SharedControl(_path(one), one.id, one.owner, str(one), one.is_unused)
        for registry in platform.registries
        for one in (registry.added_for(ALL_ACCOUNTS) if registry else ())
    ]
    change = platform.clock.shared_change
    if change is not None:
        number, owner = change
        found.append(
            SharedControl(CLOCK_PATH, f"clock_{number}", owner, "the time of all accounts (account='*')", False)
        )
    return found


def _path(control: Control) -> str:
    """Where a control is removed by a DELETE, below /_emulator."""
    if isinstance(control, ScriptedReply):
        return f"/agents/{control.agent}/replies/{control.id}"
    return f"/{_COLLECTIONS[control.NOUN]}/{control.id}"
