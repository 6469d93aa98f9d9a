"""Accounts, their API keys, and the authentication of requests."""

from __future__ import annotations

import secrets
import string
from typing import Optional

from ..config import EmulatorConfig
from ..control.clock import Clock, rfc3339
from ..control.current_account import ALL_ACCOUNTS, act_for
from ..control.randomness import Randomness
from ..store import AccountRecord, Key, Store
from . import billing, limits
from .errors import ApiError, invalid, not_found, plan_limit

_SECRET_ALPHABET = string.ascii_lowercase + string.digits


def new_secret() -> str:
    """Return a new API key: `caged_sk_` and 32 characters (docs/contract/platform-behaviour.md B 1)."""
    return "caged_sk_" + _random_text()


def new_admin_key() -> str:
    """Return a new admin key: `caged_adm_` and 32 characters. It is the emulator's own; the platform has none."""
    return "caged_adm_" + _random_text()


def _random_text() -> str:
    return "".join(secrets.choice(_SECRET_ALPHABET) for _ in range(32))


class Accounts:
    def __init__(self, config: EmulatorConfig, store: Store, clock: Clock, randomness: Randomness) -> None:
        self._config = config
        self._store = store
        self._clock = clock
        self._randomness = randomness
        self._store = self._store
        #: The plan of every new account.
        self.tier = limits.TIERS.get(self._config.tier or "", limits.UNLIMITED)

    def create(self, name: str, secret: Optional[str] = None) -> tuple[AccountRecord, Key]:
        """Create an account with one full key."""
        account = self.create_bare(name)
        return account, self._add_key(account, "default", "full", secret or new_secret())

    def create_bare(self, name: str, email: str = "") -> AccountRecord:
        """Create an account without keys."""
        identifier = self._randomness.identifier("acct", self._store.accounts)
        account = AccountRecord(
            id=identifier,
            name=name,
            email=email or f"{identifier}@emulator.invalid",
            tier=self.tier.name,
            created_at=self._clock.timestamp(),
        )
        billing.subscribe(account, account.tier, self._clock.time())
        self._store.accounts[identifier] = account
        return account

    def limits_of(self, account: AccountRecord) -> limits.Tier:
        """The limits of the account's plan; UNLIMITED when the emulator was started without a tier."""
        return self.tier if self._config.tier is None else limits.TIERS[account.tier]

    def first(self) -> Optional[AccountRecord]:
        """The emulator's oldest account; None when all were deleted."""
        return next(iter(self._store.accounts.values()), None)

    def administered(self, account_id: Optional[str]) -> AccountRecord:
        """Return the account that an admin call is about. 404 for an unknown one, 400 for an empty id.

        Args:
            account_id: The account's id; None: the first account; `*`: a placeholder with that id, for all accounts.
        """
        if account_id == ALL_ACCOUNTS:
            return AccountRecord(ALL_ACCOUNTS, "", "", "", "")
        if account_id == "":
            raise invalid("account: is empty; give the id of an account or *, or leave it out for the first account")
        account = self.first() if account_id is None else self._store.accounts.get(account_id)
        if account is None and account_id is None:
            raise ApiError(404, "the emulator has no account; POST /_emulator/accounts (create_account) adds one")
        if account is None:
            raise not_found("account", account_id or "")
        return account

    def full_key(self, account: AccountRecord) -> Key:
        """Return the account's oldest full key; create one when none is left."""
        for key in account.keys.values():
            if key.scope == "full":
                return key
        return self._add_key(account, "default", "full", new_secret())

    def ensure_key(self, account: AccountRecord, secret: str) -> bool:
        """Make `secret` a full key of the account unless it is one. Return False when it is another account's."""
        key = self._store.keys.get(secret)
        if key is None:
            self._add_key(account, "default", "full", secret)
        return key is None or key.account_id == account.id

    def _add_key(self, account: AccountRecord, name: str, scope: str, secret: str) -> Key:
        taken = {key.id for key in self._store.keys.values()}
        key = Key(
            id=self._randomness.identifier("key", taken),
            account_id=account.id,
            name=name,
            secret=secret,
            scope=scope,
            created_at=self._clock.timestamp(),
        )
        account.keys[key.id] = key
        self._store.keys[secret] = key
        return key

    def authenticate(self, secret: str) -> tuple[AccountRecord, Key]:
        """Return the account and key of an API key, or of the token of a login session. 401 for any other secret, and
        for a session that has expired. The current task acts for that account from then on."""
        key, login = self._store.keys.get(secret), None
        if key is None:
            login = self._store.logins.get(secret)
            if login is None:
                raise ApiError(401, "invalid API key")
            key = login.key
        act_for(key.account_id)
        now = self._clock.time()
        if login is not None and now >= login.expires:
            del self._store.logins[secret]
            raise ApiError(401, "the session has expired; log in again")
        key.last_used = rfc3339(now)
        account = self._store.accounts[key.account_id]
        billing.settle(account, now)
        return account, key

    def count_request(self, account: AccountRecord) -> tuple[int, int, int]:
        """Count one request. Return the limit per minute, the remaining requests, and the epoch second of the reset.
        429 when the emulator has a tier and the account's minute is used up."""
        now = self._clock.time()
        most = self.limits_of(account).requests
        minute = int(now // 60)
        seen = account.window[1] if account.window[0] == minute else 0
        reset = (minute + 1) * 60
        if self._config.tier is None:
            return most, most, reset
        if seen >= most:
            raise ApiError(
                429,
                f"rate limit of {most} requests per minute reached; try again later",
                retry_after=max(1, int(reset - now + 0.999)),
            )
        account.window = (minute, seen + 1)
        return most, most - seen - 1, reset

    def rate_window(self, account: Optional[AccountRecord] = None) -> tuple[int, int, int]:
        """Return the figures of `count_request` for a request that is not counted: of no account, or of one whose
        minute is used up."""
        reset = (int(self._clock.time() // 60) + 1) * 60
        if account is None:
            return self.tier.requests, self.tier.requests, reset
        return self.limits_of(account).requests, 0, reset

    # --- keys

    def keys(self, account: AccountRecord) -> list[Key]:
        """The account's keys, oldest first."""
        return list(account.keys.values())

    def create_key(self, account: AccountRecord, name: str, scope: str) -> Key:
        """Create a key of scope `full` or `read_only`. 403 when the plan's number of keys is reached."""
        most = self.limits_of(account).keys
        if most is not None and len(account.keys) >= most:
            count = len(account.keys)
            raise plan_limit(
                f"plan limit reached: you already have {count} API keys, which is your plan's limit"
                " \N{EM DASH} upgrade for more"
            )
        return self._add_key(account, name, scope, new_secret())

    def revoke_key(self, account: AccountRecord, key_id: str) -> None:
        """Delete a key. 404 for one that the account does not have."""
        key = account.keys.pop(key_id, None)
        if key is None:
            raise not_found("API key", key_id)
        del self._store.keys[key.secret]

    def remove(self, account: AccountRecord) -> None:
        """Delete an account with its keys and login sessions, so that all of them are refused."""
        for key in account.keys.values():
            self._store.keys.pop(key.secret, None)
        for token, login in list(self._store.logins.items()):
            if login.key.account_id == account.id:
                del self._store.logins[token]
        self._store.accounts.pop(account.id, None)
