"""Accounts, their keys, and who a request comes from."""

from __future__ import annotations

import secrets
import string
from typing import Optional

from ..store import Account, Key
from . import limits
from .refusal import Refusal, not_found, plan_limit
from .services import Services

_SECRET_ALPHABET = string.ascii_lowercase + string.digits


def new_secret() -> str:
    """`caged_sk_` and 32 characters, as the platform's (Part B, 1)."""
    return "caged_sk_" + "".join(secrets.choice(_SECRET_ALPHABET) for _ in range(32))


class Accounts:
    def __init__(self, services: Services) -> None:
        self._services = services
        self._store = services.store
        self.tier = limits.TIERS.get(services.config.tier or "", limits.UNLIMITED)

    def create(self, name: str, secret: Optional[str] = None) -> tuple[Account, Key]:
        """A new account with one full key."""
        identifier = self._services.chance.identifier("acct", self._store.accounts)
        account = Account(
            id=identifier,
            name=name,
            email=f"{identifier}@emulator.invalid",
            tier=self.tier.name,
            created_at=self._services.clock.timestamp(),
        )
        self._store.accounts[identifier] = account
        return account, self._add_key(account, "default", "full", secret or new_secret())

    def _add_key(self, account: Account, name: str, scope: str, secret: str) -> Key:
        taken = {key.id for key in self._store.keys.values()}
        key = Key(
            id=self._services.chance.identifier("key", taken),
            account_id=account.id,
            name=name,
            secret=secret,
            scope=scope,
            created_at=self._services.clock.timestamp(),
        )
        account.keys[key.id] = key
        self._store.keys[secret] = key
        return key

    def authenticate(self, secret: str) -> tuple[Account, Key]:
        key = self._store.keys.get(secret)
        if key is None:
            raise Refusal(401, "invalid API key")
        key.last_used = self._services.clock.timestamp()
        return self._store.accounts[key.account_id], key

    def count_request(self, account: Account) -> tuple[int, int, int]:
        """(limit, remaining, reset as epoch seconds) after counting one request. Refuses with 429 when a tier
        was chosen and its minute is used up."""
        now = self._services.clock.time()
        minute = int(now // 60)
        seen = account.window[1] if account.window[0] == minute else 0
        reset = (minute + 1) * 60
        if self._services.config.tier is None:
            return self.tier.requests, self.tier.requests, reset
        if seen >= self.tier.requests:
            raise Refusal(
                429,
                f"rate limit of {self.tier.requests} requests per minute reached; try again later",
                retry_after=max(1, int(reset - now + 0.999)),
            )
        account.window = (minute, seen + 1)
        return self.tier.requests, self.tier.requests - seen - 1, reset

    def rate_window(self) -> tuple[int, int, int]:
        """The figures of a response that was counted for nobody."""
        reset = (int(self._services.clock.time() // 60) + 1) * 60
        return self.tier.requests, self.tier.requests, reset

    # --- keys

    def keys(self, account: Account) -> list[Key]:
        return list(account.keys.values())

    def create_key(self, account: Account, name: str, scope: str) -> Key:
        if self.tier.keys is not None and len(account.keys) >= self.tier.keys:
            count = len(account.keys)
            raise plan_limit(
                f"plan limit reached: you already have {count} API keys, which is your plan's limit"
                " \N{EM DASH} upgrade for more"
            )
        return self._add_key(account, name, scope, new_secret())

    def revoke_key(self, account: Account, key_id: str) -> None:
        key = account.keys.pop(key_id, None)
        if key is None:
            raise not_found("API key", key_id)
        del self._store.keys[key.secret]

    def remove(self, account: Account) -> None:
        for key in account.keys.values():
            self._store.keys.pop(key.secret, None)
        self._store.accounts.pop(account.id, None)
