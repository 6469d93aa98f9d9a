"""What applies to all accounts (`account="*"`): faults, stubs, agents' replies, fake repositories, prepared
sandboxes, and the time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..control.agent_replies import AgentReply
from ..control.current_account import ALL_ACCOUNTS
from ..control.records import SharedControl

if TYPE_CHECKING:
    from .platform import Platform

#: Below /_emulator: where all accounts' time is reset by a DELETE.
CLOCK_PATH = "/clock"


def shared_controls(platform: Platform) -> list[SharedControl]:
    """List the controls of all accounts, those of each kind in the order in which they were added. Any thread may call
    it."""
    if not (platform.faults or platform.stubs or platform.agent_replies or platform.clock.shared_change):
        return []
    found = [
        SharedControl(f"/{name}/{one.id}", one.id, one.owner, str(one), one.is_unused)
        for name, registry in (
            ("faults", platform.faults),
            ("commands", platform.stubs),
            ("repos", platform.repositories),
            ("prepared", platform.prepared),
        )
        for one in registry.added_for(ALL_ACCOUNTS)
    ]
    found += [_of_reply(reply) for reply in platform.agent_replies.added_for(ALL_ACCOUNTS)]
    change = platform.clock.shared_change
    if change is not None:
        number, owner = change
        found.append(
            SharedControl(CLOCK_PATH, f"clock_{number}", owner, "the time of all accounts (account='*')", False)
        )
    return found


def _of_reply(reply: AgentReply) -> SharedControl:
    path = f"/agents/{reply.agent}/replies/{reply.id}"
    return SharedControl(path, reply.id, reply.owner, str(reply), reply.is_unused)
