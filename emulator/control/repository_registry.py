"""The fake repositories of an emulator, and which one a URL means."""

from __future__ import annotations

from typing import Optional

from .current_account import ALL_ACCOUNTS
from .randomness import Randomness
from .registry import Registry
from .repositories import Repository
from .repository_urls import RepositoryAddress


class Repositories(Registry[Repository]):
    """All fake repositories."""

    def __init__(self, randomness: Randomness) -> None:
        super().__init__(Repository, "repositories", randomness)

    def check(self, control: Repository) -> None:
        """Refuse a second repository with the same URL in the same account."""
        for other in self.added_for(control.account):
            if other.address.key == control.address.key:
                where = "all accounts have" if control.account == ALL_ACCOUNTS else "the account has"
                raise ValueError(f"url: {where} a repository with this URL: {other}; remove it first")

    def find(self, account: str, address: RepositoryAddress) -> Optional[Repository]:
        """The repository that an address means to an account: its own first, then that of all accounts."""
        return next((one for one in self.list(account) if one.address.key == address.key), None)

    def urls(self, account: str) -> list[str]:
        """The URLs of those that apply to an account, each once."""
        return list(dict.fromkeys(one.url for one in self.list(account)))
