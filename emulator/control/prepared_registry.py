"""The prepared sandboxes of an emulator, and which one a name means."""

from __future__ import annotations

from typing import Optional

from .current_account import ALL_ACCOUNTS
from .prepared import MOST_PREPARED, PreparedSandbox
from .randomness import Randomness
from .registry import Registry


class PreparedRegistry(Registry[PreparedSandbox]):
    """All prepared sandboxes, also those that are being built."""

    def __init__(self, randomness: Randomness) -> None:
        super().__init__(PreparedSandbox, "prepared sandboxes", randomness)

    def check(self, control: PreparedSandbox) -> None:
        """Refuse a second one with the same name for the same account, and too many."""
        if len(self.added_for(control.account)) >= MOST_PREPARED:
            raise ValueError(f"there are {MOST_PREPARED} prepared sandboxes already, which is the most; remove some")
        for other in self.added_for(control.account):
            if other.name == control.name:
                where = "for all accounts" if control.account == ALL_ACCOUNTS else "for the account"
                raise ValueError(f"name: {control.name!r} is prepared already {where}; remove it first: {other}")

    def find(self, account: str, name: str) -> Optional[PreparedSandbox]:
        """What a name means to an account: its own first, then that of all accounts; None for what is not built."""
        return next((one for one in self.list(account) if one.name == name and one.is_built), None)
